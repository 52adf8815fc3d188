"""A child is forked, watched by its heartbeat, and its end is known."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from proxy.supervisor.children import SILENCE, TRACE, Child, fork


def wait(child: Child) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])


@pytest.fixture
def child() -> Iterator[Child]:
    """A child that lives until its channel is closed."""
    child = Child("worker", 1, 0, since=100.0)

    def run(end: socket.socket) -> int:
        faulthandler.disable()  # one test aborts it
        end.send(b"x")
        return len(end.recv(1))

    child.pid, child.channel = fork(run)
    child.channel.sock.setblocking(True)
    assert child.channel.sock.recv(1) == b"x"
    yield child
    child.channel.close()


def test_a_forked_child_ends_with_the_code_of_its_work(child: Child) -> None:
    assert child.ended() is None

    child.channel.sock.shutdown(socket.SHUT_WR)

    assert wait(child) == 0


def test_a_child_that_raises_ends_with_1() -> None:
    def run(end: socket.socket) -> int:
        raise RuntimeError

    pid, channel = fork(run)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    channel.close()


def test_a_child_leaves_signals_to_the_supervisor(child: Child) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        child.kill(signum)

    child.channel.sock.shutdown(socket.SHUT_WR)

    assert wait(child) == 0


def test_a_silent_child_is_aborted(child: Child) -> None:
    assert not child.watch(100 + SILENCE)
    assert child.ended() is None

    assert child.watch(100.1 + SILENCE)

    assert wait(child) == -signal.SIGABRT


def test_a_child_that_does_not_hear_the_abort_is_killed(child: Child) -> None:
    child.kill(signal.SIGSTOP)
    assert child.watch(200)
    assert not child.watch(200 + TRACE / 2)

    child.watch(200 + TRACE)

    assert wait(child) == -signal.SIGKILL


def test_a_child_that_is_due_is_not_watched_for_silence(child: Child) -> None:
    child.due = 1000

    assert not child.watch(999)
    child.watch(1000)

    assert wait(child) == -signal.SIGKILL


def test_a_workers_name_has_its_slot() -> None:
    worker, agent = Child("worker", 7, 2, 0.0), Child("agent", 8, 0, 0.0)

    assert (worker.name, agent.name) == ("worker-2", "agent")
