"""The agent: the one trio process beside the workers. It knows what they all did.

It collects counters, spans and answers from the workers and serves the admin port. It
may die at any time: the supervisor starts another, which finds the totals in memory
files and gets a line to each worker.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import attrs
import trio

import meshfilters
from meshfilters.api import Service
from meshfilters.counters import Metrics
from meshfilters.env import SpanRecord
from meshfilters.message import Request, Response
from proxy.agent.admin import Admin
from proxy.agent.totals import Totals
from proxy.agent.usage import usage
from proxy.config.model import Config
from proxy.ipc.channel import TrioChannel, close_all
from proxy.ipc.families import Families, Family, add_all, snapshot, unpack
from proxy.ipc.link import WorkerLine
from proxy.ipc.messages import Beat, Link, Quit, Ready, Shutdown, State

log = logging.getLogger("tulle.agent")

Admins = Callable[
    [Service[Request, Response], Sequence[socket.socket]], Awaitable[None]
]
"""Serves a request service on sockets, for ever."""

BEAT = 1.0
PATIENCE = 0.25
"""Seconds a page waits for the workers; then it shows the last that was known."""

LAST_SPANS = 2.0
"""Seconds that sending the last spans may take."""

LAST_WORDS = 1.0
"""Seconds that reading what ended workers said last may take."""


class Spanning(Protocol):
    """Where finished spans go: ``proxy.agent.spans.SpanSender``."""

    def offer(self, record: SpanRecord) -> bool: ...

    def close(self, timeout: float) -> None:
        """Send what is left, for at most so long; blocks."""
        ...


@attrs.define(eq=False)
class Agent:
    """Totals, lines to the workers, and the admin port over both."""

    number: int
    """As the supervisor counts its children."""
    config: Config
    channel: TrioChannel
    totals: Totals
    admins: Admins
    spans: Spanning | None = None
    metrics: Metrics = attrs.field(factory=Metrics)
    _state: State = attrs.field(factory=State)
    _knows_who_is_there: bool = False
    """Before the supervisor's first word, workers it has no line to may well live."""
    _lines: dict[int, WorkerLine] = attrs.field(factory=dict)

    @property
    def is_ready(self) -> bool:
        return self._state.is_ready

    async def run(self, sockets: Sequence[socket.socket]) -> None:
        """Work until told to quit, or until the supervisor has gone."""
        admin = Admin(self, self.config.shutdown)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat)
            if sockets:
                nursery.start_soon(self.admins, admin, sockets)
            await self.channel.send(Ready())
            async with trio.open_nursery() as lines:
                await self._obey(lines)
                # The workers have ended: what they said last is still to be read.
                lines.cancel_scope.deadline = trio.current_time() + LAST_WORDS
            nursery.cancel_scope.cancel()
        self._save()
        if self.spans is not None:
            await trio.to_thread.run_sync(self.spans.close, LAST_SPANS)

    async def families(self) -> Families:
        """Every metric, saved before anybody sees it."""
        answers = await self._ask("counters")
        for number, value in answers.items():
            self.totals.update(number, unpack(value))
        self._save()
        return add_all([self.totals.sum(), self._of_processes(), self._of_build()])

    async def ask(self, what: str) -> dict[str, object]:
        """Each worker's answer; one that did not answer in time says so."""
        answers = await self._ask(what)
        late = {"error": f"no answer within {PATIENCE} s"}
        return {
            f"worker-{line.slot}": answers.get(number, late)
            for number, line in sorted(self._lines.items(), key=_by_slot)
        }

    async def shut_down(self) -> None:
        await self.channel.send(Shutdown())

    async def _beat(self) -> None:
        while True:
            await self.channel.send(Beat())
            self._save()
            await trio.sleep(BEAT)

    async def _obey(self, nursery: trio.Nursery) -> None:
        while received := await self.channel.receive():
            for message, descriptors in received:
                match message:
                    case State():
                        self._state, self._knows_who_is_there = message, True
                    case Link():
                        end = TrioChannel(socket.socket(fileno=descriptors[0]))
                        nursery.start_soon(self._listen, message, end)
                    case Quit():
                        return
                    case _:
                        close_all(descriptors)

    async def _listen(self, link: Link, end: TrioChannel) -> None:
        line = WorkerLine(link.worker, link.slot, end, self._count, self._collect)
        self._lines[link.worker] = line
        try:
            await line.serve()
        finally:
            del self._lines[link.worker]

    async def _ask(self, what: str) -> dict[int, Any]:
        answers: dict[int, Any] = {}

        async def ask(line: WorkerLine) -> None:
            try:
                answers[line.worker] = await line.ask(what)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

        with trio.move_on_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for line in self._lines.values():
                    nursery.start_soon(ask, line)
        return answers

    def _count(self, worker: int, families: list[Any]) -> None:
        self.totals.update(worker, unpack(families))

    def _collect(self, records: list[Any]) -> None:
        if self.spans is not None:
            for each in records:
                self.spans.offer(tuple(each))

    def _save(self) -> None:
        cpu = self.metrics.counter(
            "process_cpu_seconds_total", "CPU seconds, by process.", ("process",)
        )
        cpu.series(("agent",))[0] = time.process_time()
        self.totals.update(self.number, snapshot(self.metrics))
        if self._knows_who_is_there:
            # A worker that ended may have said more than we have read: its line is
            # closed only behind its last words.
            living = {int(str(each["number"])) for each in self._state.workers}
            self.totals.bury({*living, *self._lines, self.number})
        self.totals.save()

    def _of_processes(self) -> Families:
        pids = [int(str(each["pid"])) for each in self._state.workers]
        return usage(os.getppid(), {"agent": [os.getpid()], "worker": pids})

    def _of_build(self) -> Families:
        build = Family("gauge", "proxy_build_info", "What runs.", ("version", "python"))
        build.series[meshfilters.__version__, platform.python_version()] = [1]
        workers = Family(
            "gauge", "tulle_workers", "Worker processes, by state.", ("state",)
        )
        for each in self._state.workers:
            numbers = workers.series.setdefault((str(each["state"]),), [0])
            numbers[0] += 1
        restarts = Family(
            "counter",
            "tulle_worker_restarts_total",
            "Workers replaced because they died or hung.",
        )
        restarts.series[()] = [self._state.restarts]
        return {each.name: each for each in (build, workers, restarts)}


def _by_slot(item: tuple[int, WorkerLine]) -> tuple[int, int]:
    return item[1].slot, item[0]
