from __future__ import annotations

import pytest

from meshfilters.visible import visible


def test_plain_text_is_left_as_it_is() -> None:
    assert visible(b"/caf\xc3\xa9?q=1", 100) == "/caf\u00e9?q=1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"a\r\nb", r"a\r\nb"),
        (b"\x1b[31m", r"\x1b[31m"),
        (b"\x7f", r"\x7f"),
        ("\u009b".encode(), r"\x9b"),
        ("\u2028".encode(), r"\u2028"),
        ("\u202e".encode(), r"\u202e"),
        (b"\xff", r"\xff"),
    ],
)
def test_what_could_forge_a_line_or_drive_a_terminal_is_escaped(
    value: bytes, text: str
) -> None:
    assert visible(value, 100) == text


def test_a_long_value_is_cut_and_shows_it() -> None:
    assert visible(b"abcdef", 4) == "abcd..."


def test_a_character_cut_in_two_is_escaped() -> None:
    assert visible("a\u00e9".encode(), 2) == r"a\xc3..."
