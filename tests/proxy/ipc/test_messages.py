"""Messages between the processes survive their line, and other versions' lines."""

from __future__ import annotations

import json

from proxy.ipc.messages import KINDS, Applied, Apply, Beat, decode, encode


def test_a_message_comes_back_from_its_line() -> None:
    message = Apply("listeners: {}\n", 7, [["web", 2]])  # type: ignore[list-item]  # JSON has lists

    line = encode(message, descriptors=2)

    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == (message, 2)


def test_every_kind_can_be_made_of_nothing_but_its_name() -> None:
    for kind, message in KINDS.items():
        assert decode(json.dumps({"kind": kind}).encode()) == (message(), 0)


def test_a_kind_of_another_version_is_none_and_its_descriptors_are_known() -> None:
    assert decode(b'{"kind": "tomorrow", "descriptors": 3}') == (None, 3)


def test_a_field_of_another_version_is_left_out() -> None:
    line = b'{"kind": "applied", "number": 4, "colour": "blue"}'

    assert decode(line) == (Applied(4), 0)


def test_a_line_names_the_version() -> None:
    assert json.loads(encode(Beat())) == {"kind": "beat", "version": 1}
