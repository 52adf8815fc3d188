"""The process around a worker: it listens to the supervisor, beats, and ends in order.

The supervisor's messages decide everything. When its end of the channel closes, it has
died, and so does this process: a proxy that nobody can stop is worse than none.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import attrs
import trio

from meshfilters.counters import Metrics
from meshfilters.env import SpanRecord
from meshfilters.errors import ConfigError
from proxy.config import parse
from proxy.config.model import Config
from proxy.ipc.channel import TrioChannel, close_all
from proxy.ipc.link import AgentLine
from proxy.ipc.messages import Applied, Apply, Beat, Drain, Link, Ready

log = logging.getLogger("tulle.worker")

Sockets = Mapping[str, Sequence[socket.socket]]

BEAT = 1.0
LAST_WORDS = 0.5
"""Seconds an ending worker may take to tell the agent its last numbers."""


class Serving(Protocol):
    """What is run in here: ``proxy.worker.worker.Worker``."""

    async def run(
        self, sockets: Sockets, *, task_status: trio.TaskStatus[None] = ...
    ) -> None: ...

    def apply(self, config: Config, opened: Sockets) -> None: ...

    def drain(self, grace: float) -> None: ...

    def collect(self) -> None:
        """Bring counters that are kept elsewhere up to date."""
        ...

    def statistics(self) -> dict[str, object]: ...

    def chains(self) -> dict[str, object]: ...


Export = Callable[[SpanRecord], None]
Make = Callable[[Config, Metrics, Export, int], Serving]


@attrs.define(eq=False)
class WorkerProcess:
    """One worker, from its start to the supervisor's last word."""

    channel: TrioChannel
    path: Path
    make: Make
    adjust: Callable[[Config], None]
    """Called with each configuration taken into use, for what is the process's own."""
    metrics: Metrics = attrs.field(factory=Metrics)
    _worker: Serving = attrs.field(init=False)
    _line: AgentLine = attrs.field(init=False)

    async def run(self, config: Config, sockets: Sockets, workers: int) -> None:
        """Serve until drained, or until the supervisor has gone."""
        self._line = AgentLine(self.metrics, self._reply, self._collect)
        self._worker = self.make(config, self.metrics, self._line.export, workers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat)
            # What is to be changed must be there: an order may come that early.
            await nursery.start(self._serve, sockets, nursery)
            await self._obey(nursery)
            nursery.cancel_scope.cancel()

    async def _serve(
        self,
        sockets: Sockets,
        nursery: trio.Nursery,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with trio.open_nursery() as serving:
            await serving.start(self._worker.run, sockets)
            task_status.started()
            await self.channel.send(Ready())
        with trio.move_on_after(LAST_WORDS):
            await self._line.finish()
        nursery.cancel_scope.cancel()

    async def _beat(self) -> None:
        while True:
            await self.channel.send(Beat())
            await trio.sleep(BEAT)

    async def _obey(self, nursery: trio.Nursery) -> None:
        while received := await self.channel.receive():
            for message, descriptors in received:
                match message:
                    case Apply():
                        await self.channel.send(self._apply(message, descriptors))
                    case Drain():
                        self._worker.drain(message.grace)
                    case Link():
                        end = TrioChannel(socket.socket(fileno=descriptors[0]))
                        nursery.start_soon(self._line.serve, end)
                    case _:
                        close_all(descriptors)

    def _collect(self) -> None:
        self._worker.collect()
        cpu = self.metrics.counter(
            "process_cpu_seconds_total", "CPU seconds, by process.", ("process",)
        )
        cpu.series(("worker",))[0] = time.process_time()

    def _reply(self, what: str) -> object:
        match what:
            case "counters":
                return self._line.counters()
            case "statistics":
                return self._worker.statistics()
            case "chains":
                return self._worker.chains()
            case _:
                return None

    def _apply(self, order: Apply, descriptors: list[int]) -> Applied:
        left = [socket.socket(fileno=each) for each in descriptors]
        opened: dict[str, list[socket.socket]] = {}
        for name, count in order.opened:
            opened[name], left = left[:count], left[count:]
        try:
            config = parse(order.text, self.path)
            self._worker.apply(config, opened)
        except ConfigError as error:
            for sockets in opened.values():
                for each in sockets:
                    each.close()
            return Applied(order.number, str(error))
        self.adjust(config)
        return Applied(order.number)
