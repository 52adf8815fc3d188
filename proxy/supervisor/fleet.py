"""The supervisor's children: started, linked, watched, drained, replaced.

A slot has one worker that counts; others in it are draining. A worker that is to
replace a living one starts beside it, and the old one is told to drain when the other
is ready: at no moment does nobody accept. Each worker has a line to the agent, which
the supervisor makes anew for a new worker or a new agent.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Literal

import attrs

from proxy.ipc.messages import Drain, Link, Message, Quit, Ready, State
from proxy.supervisor.children import Child

log = logging.getLogger("tulle.supervisor")

LATE = 2.0
"""Seconds beyond its grace that a draining child is given."""
QUIT = 5.0
"""Seconds an agent has to save and send what is left."""
STEADY = 10.0
"""Seconds a worker must have been ready for its next failure to be a first one."""
LONGEST_PAUSE = 5.0
AWAY = 1.0
"""Seconds between two looks from which on the supervisor itself was held up."""


@attrs.define(eq=False)
class Fleet:
    """All children of one supervisor."""

    start: Callable[[Child], None]
    """Forks: fills in the pid and the channel."""
    clock: Callable[[], float]
    children: list[Child] = attrs.field(factory=list)
    last_number: int = 0
    restarts: int = 0
    _failures: dict[str, int] = attrs.field(factory=dict)
    _not_before: dict[str, float] = attrs.field(factory=dict)
    _told: State | None = None
    _watched: float | None = None

    @property
    def workers(self) -> list[Child]:
        """Those that count: draining ones do not."""
        return [
            each
            for each in self.children
            if each.role == "worker" and each.state != "draining"
        ]

    @property
    def agent(self) -> Child | None:
        return next((each for each in self.children if each.role == "agent"), None)

    def add(
        self,
        role: Literal["worker", "agent"],
        slot: int,
        configuration: int,
        replaces: int | None = None,
    ) -> None:
        """Start a child."""
        self.last_number += 1
        child = Child(role, self.last_number, slot, self.clock())
        child.configuration, child.replaces = configuration, replaces
        self.start(child)
        self.children.append(child)

    def fill(self, slots: int, configuration: int) -> None:
        """Start what is missing, unless it failed too short a time ago."""
        taken = {each.slot for each in self.workers}
        for slot in set(range(slots)) - taken:
            if self._may_start(f"worker-{slot}"):
                self.add("worker", slot, configuration)
        if self.agent is None and self._may_start("agent"):
            self.add("agent", 0, configuration)

    def renew(self, slots: int, configuration: int, grace: float) -> None:
        """Start another child for each, to take its place once it is ready."""
        for old in self.workers:
            if old.slot < slots:
                self.add("worker", old.slot, configuration, replaces=old.number)
            else:
                self.drain(old, grace)
        self.quit_agent()

    def is_ready(self, slots: int) -> bool:
        """Whether each slot has a worker that accepts."""
        ready = {each.slot for each in self.workers if each.state == "ready"}
        return ready >= set(range(slots))

    def hear(self) -> Iterator[tuple[Child, Message]]:
        """What the children have said that is not the fleet's own business."""
        for child in self.children:
            for message, _ in child.channel.receive():
                child.heard = self.clock()
                if isinstance(message, Ready):
                    self._has_started(child)
                yield child, message
            child.channel.flush()

    def watch(self) -> None:
        """Abort and kill what hangs or is overdue.

        Seconds in which nobody watched are no silence of a child's: a frozen container or
        a machine with too much to do holds up all of us.
        """
        now = self.clock()
        away = 0.0 if self._watched is None else now - self._watched
        self._watched = now
        for child in self.children:
            if away > AWAY:
                child.heard += away
            if child.watch(now):
                log.error("%s (pid %s) hangs: aborting it", child.name, child.pid)

    def reap(self) -> list[tuple[Child, int]]:
        """Take out the children that have ended, each with its exit code."""
        ended = []
        for child in list(self.children):
            code = child.ended()
            if code is not None:
                self.children.remove(child)
                child.channel.close()
                ended.append((child, code))
        return ended

    def lost(self, child: Child, code: int) -> None:
        """Note that a child ended which nobody had told to."""
        now = self.clock()
        failures = self._failures.get(child.name, 0)
        if child.state == "ready" and now - child.since > STEADY:
            failures = 0
        # The first is replaced at once; then 0.1 s, 0.2 s, and so on.
        pause = min(0.05 * 2**failures, LONGEST_PAUSE) if failures else 0.0
        self._failures[child.name] = failures + 1
        self._not_before[child.name] = now + pause
        self.restarts += child.role == "worker"
        log.error("%s (pid %s) %s", child.name, child.pid, cause(code))

    def drain(self, child: Child, grace: float) -> None:
        """Have a worker finish; one that has not started has nothing to finish."""
        if child.state == "starting":
            child.kill(signal.SIGKILL)
        else:
            child.channel.send(Drain(grace))
        child.state = "draining"
        child.due = self.clock() + grace + LATE

    def quit_agent(self) -> None:
        """Have the agent save and end; once."""
        agent = self.agent
        if agent is not None and agent.state != "draining":
            agent.state = "draining"
            agent.channel.send(Quit())
            agent.due = self.clock() + QUIT

    def kill_all(self) -> None:
        for each in self.children:
            each.kill(signal.SIGKILL)

    def tell(self, is_ready: bool) -> None:
        """Let the agent know how things stand, if it does not."""
        agent = self.agent
        if agent is None or agent.state != "ready":
            return
        workers: list[dict[str, object]] = [
            {
                "number": each.number,
                "slot": each.slot,
                "pid": each.pid,
                "state": each.state,
            }
            for each in self.children
            if each.role == "worker"
        ]
        state = State(is_ready, workers, self.restarts)
        if state != self._told:
            self._told = state
            agent.channel.send(state)

    def _may_start(self, name: str) -> bool:
        return self.clock() >= self._not_before.get(name, 0.0)

    def _has_started(self, child: Child) -> None:
        if child.state != "starting":
            return
        child.state, child.since = "ready", self.clock()
        if child.role == "agent":
            self._told = None
            for each in self.children:
                if each.role == "worker" and each.state != "starting":
                    self._link(each)
        else:
            self._link(child)

    def _link(self, worker: Child) -> None:
        # One that is still starting finds the line in its channel: importing
        # OpenTelemetry takes it longer than a worker needs to see its first request.
        agent = self.agent
        if agent is None or agent.state == "draining" or worker.linked == agent.number:
            return
        worker.linked = agent.number
        ends = socket.socketpair()
        link = Link(worker.number, worker.slot)
        for child, end in zip((agent, worker), ends, strict=True):
            child.channel.send(link, [end])
            end.close()


def cause(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was ended by {name}" + (
        ", perhaps for want of memory" if name == "SIGKILL" else ""
    )
