"""What a supervisor leaves for the program in its place, and what that finds."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from meshfilters.errors import ConfigError
from proxy.config import parse
from proxy.ipc.channel import Channel
from proxy.supervisor import resume, upgrade
from proxy.supervisor.change import Running
from proxy.supervisor.children import Child
from proxy.supervisor.fleet import Fleet
from proxy.supervisor.sockets import Listening

TEXT = """
listeners: {web: {address: "127.0.0.1:0", to: app}}
services: {app: {endpoints: ["127.0.0.1:1"]}}
"""
ORIGIN = Path("mesh.yaml")


class Executed(Exception):
    """Instead of another program."""


def test_everything_crosses(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[tuple[Any, list[int]]] = []

    def execute(state: Mapping[str, object], descriptors: Iterable[int]) -> NoReturn:
        left.append((state, list(descriptors)))
        raise Executed

    monkeypatch.setattr(upgrade, "execute", execute)
    running = Running(TEXT, parse(TEXT, ORIGIN), 4)
    listening = Listening()
    listening.open(running.places)
    ours, theirs = socket.socketpair()
    child = Child("worker", 9, 0, since=1.0, pid=123)
    child.channel, child.state = Channel(ours), "ready"
    fleet = Fleet(lambda child: None, lambda: 0.0, [child], last_number=9, restarts=2)

    with pytest.raises(Executed):
        resume.leave(running, "new", ORIGIN, listening, (5, 6), fleet)

    [(state, descriptors)] = left
    assert (state["text"], state["old_text"], state["path"]) == (
        "new",
        TEXT,
        "mesh.yaml",
    )
    assert (state["number"], state["last_number"], state["restarts"]) == (4, 9, 2)
    [held] = listening.sockets.values()
    assert descriptors == [held.fileno(), ours.fileno(), 5, 6]

    for each in (held, ours):
        each.set_inheritable(True)
    state["sockets"] = [[*place, os.dup(fd)] for *place, fd in state["sockets"]]
    state["children"][0]["channel"] = os.dup(ours.fileno())
    found = resume.restore_listening(state)
    [restored] = resume.restore_children(state, now=50.0)

    assert found.sockets.keys() == listening.sockets.keys()
    assert (restored.pid, restored.number, restored.state) == (123, 9, "ready")
    assert restored.heard == 50.0
    assert not any(each.get_inheritable() for each in found.sockets.values())
    restored.channel.close()
    child.channel.close()
    theirs.close()
    found.close_others(())
    listening.close_others(())


def test_the_checked_configuration_runs(caplog: pytest.LogCaptureFixture) -> None:
    listening = Listening()
    state = {"text": TEXT, "old_text": "", "number": 4}

    running = resume.restore_running(state, listening, ORIGIN)

    assert (running.text, running.number) == (TEXT, 6)
    assert listening.sockets
    assert not caplog.records
    listening.close_others(())


def test_the_one_before_runs_when_the_checked_one_does_not() -> None:
    listening = Listening()
    state = {"text": "listeners: 3", "old_text": TEXT, "number": 4}

    assert resume.restore_running(state, listening, ORIGIN).text == TEXT

    listening.close_others(())


def test_when_neither_runs_it_is_an_error() -> None:
    state = {"text": "listeners: 3", "old_text": "listeners: 3", "number": 4}

    with pytest.raises(ConfigError, match="cannot run the configuration"):
        resume.restore_running(state, Listening(), ORIGIN)
