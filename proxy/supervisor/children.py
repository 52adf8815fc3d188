"""A child process as the supervisor sees it, and how one is made."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Literal

import attrs

from proxy.ipc.channel import Channel

SILENCE = 5.0
"""Seconds without a heartbeat after which a child counts as hung."""
TRACE = 1.0
"""Seconds a hung child has to write its traceback on SIGABRT."""

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@attrs.define(eq=False)
class Child:
    """One process: who it is, how it stands, when it was last heard."""

    role: Literal["worker", "agent"]
    number: int
    """Never used twice in a supervisor's life."""
    slot: int
    since: float
    """When it was started; when it was ready, once it is."""
    pid: int = 0
    channel: Channel = attrs.field(init=False)
    heard: float = attrs.field(
        default=attrs.Factory(lambda self: self.since, takes_self=True)
    )
    """When it last said anything."""
    state: Literal["starting", "ready", "draining"] = "starting"
    replaces: int | None = None
    """The number of the worker to drain once this one is ready."""
    configuration: int = 0
    """Number of the configuration it runs."""
    due: float | None = None
    """When it is killed if it still lives."""
    linked: int = 0
    """The number of the agent that this worker has a line to."""

    @property
    def name(self) -> str:
        return f"{self.role}-{self.slot}" if self.role == "worker" else self.role

    def watch(self, now: float) -> bool:
        """Kill it if it is overdue, abort it if it is silent; True at that moment."""
        if self.due is not None and now >= self.due:
            self.kill(signal.SIGKILL)
        elif self.due is None and now - self.heard > SILENCE:
            self.kill(signal.SIGABRT)
            self.due = now + TRACE
            return True
        return False

    def kill(self, signum: signal.Signals) -> None:
        # It has not been waited for, so its pid is nobody else's.
        os.kill(self.pid, signum)

    def ended(self) -> int | None:
        """Its exit code, negative for a signal, once it has ended; asked once."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None


def fork(run: Callable[[socket.socket], int]) -> tuple[int, Channel]:
    """Fork; the child runs ``run`` with its end of the channel and exits with its code."""
    ours, theirs = socket.socketpair()
    # A signal that came before the child has let go of the supervisor's wakeup
    # descriptor would be the supervisor's a second time.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    pid = os.fork()
    if not pid:
        try:
            _become_child(before)
            ours.close()
            code = run(theirs)
        except BaseException:
            os._exit(1)
        os._exit(code)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return pid, Channel(ours)


def _become_child(mask: set[int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A signal to the whole group (Ctrl-C, timeout(1)) must leave draining to the
    # supervisor, which tells its children what to do.
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
