"""What the supervisor says before it has any children; the rest is in tests/processes."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.config import ConfigErrors
from proxy.supervisor.children import Child
from proxy.supervisor.supervisor import Supervisor, run

TEXT = """
listeners: {{web: {{address: "{address}", to: app}}}}
services: {{app: {{endpoints: ["127.0.0.1:1"]}}}}
"""


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    kept = [
        (each, each.handlers[:], each.level, each.propagate)
        for each in map(logging.getLogger, ("", "tulle", "tulle.access"))
    ]
    yield
    for each, handlers, level, propagate in kept:
        each.handlers[:], each.level, each.propagate = handlers, level, propagate


def test_a_wrong_configuration_is_raised_before_anything_is_done() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(ConfigErrors, match=r"mesh\.yaml"):
        run("listeners: 3", Path("mesh.yaml"))

    assert signal.getsignal(signal.SIGTERM) is before


def test_an_address_in_use_is_3_and_one_sentence(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        assert run(TEXT.format(address=address), None) == 3

    last = capfd.readouterr().err.splitlines()[-1]
    assert last.endswith(f"cannot listen on {address}: the address is in use")


class Enough(Exception):
    """Ends the loop, which has no other end without children."""


def test_children_are_started_before_anything_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = []

    def start(child: Child) -> None:
        steps.append(child.name)

    def wait(self: Supervisor) -> None:
        steps.append("wait")
        raise Enough

    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(Supervisor, "_wait", wait)
    supervisor = Supervisor.start(TEXT.format(address="127.0.0.1:0"), None)
    supervisor.fleet.start = start

    with pytest.raises(Enough):
        supervisor.run()

    for each in supervisor.totals:
        os.close(each)
    assert steps == ["worker-0", "agent", "wait"]
