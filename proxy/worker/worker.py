"""One worker: its listeners, chains and services, and how they change and end.

A configuration is built whole beside the one that runs, then swapped in by reference:
a request under way finishes on the chain it began on. Filters whose name and settings
stay the same keep their running instance.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from socket import socket

import trio

from meshfilters.counters import Metrics
from meshfilters.env import SpanRecord
from meshfilters.errors import MeshError
from meshfilters.exchange import Connection
from proxy.chain.filters import Filters
from proxy.chain.pipeline import Blame, Tallies
from proxy.chain.side_tasks import SideTasks
from proxy.config.model import ORIGINAL, ByOriginal, Config
from proxy.downstream.listen import Listener
from proxy.transport.deadlines import Deadlines
from proxy.transport.original import original_destination
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream
from proxy.upstream.loops import Own, name_of
from proxy.upstream.original import OriginalService
from proxy.worker import shown
from proxy.worker.build import Builder, Built, Port

log = logging.getLogger("tulle.worker")

QUIET = 10.0
"""Seconds between two lines at info about connections that a listener's filters ended."""


class Worker:
    """The data path of one process.

    ``run`` serves until ``drain`` has ended; everything else is synchronous and may
    be called while it runs.
    """

    def __init__(
        self,
        config: Config,
        *,
        metrics: Metrics,
        export: Callable[[SpanRecord], None],
        workers: int,
    ) -> None:
        self.config = config
        self.metrics = metrics
        self._tallies = Tallies()
        self._blame = Blame(metrics)
        self._readiness = Readiness()
        self._deadlines = Deadlines(time.monotonic)
        self._random = Random()
        self._filters = Filters(
            metrics, self._tallies, self._blame, self._random, export, workers
        )
        self._own = Own()
        self._built = Built()
        self._listeners: set[Listener] = set()
        self._accepting: trio.Nursery | None = None
        self._draining = trio.Event()
        self._grace = 0.0
        self._opened = metrics.counter(
            "tcp_open_total", "Connections accepted.", ("direction", "peer")
        )
        self._closed = metrics.counter(
            "tcp_close_total", "Connections closed.", ("direction", "peer", "errno")
        )

    # Running

    async def run(
        self,
        sockets: Mapping[str, Sequence[socket]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on ``sockets``, by listener, until drained.

        Raises a group with a ConfigError before it serves anything.
        """
        try:
            async with trio.open_nursery() as background:
                self._builder = Builder(
                    self._filters,
                    self.metrics,
                    self._blame,
                    self._readiness,
                    self._deadlines,
                    SideTasks(background, self._blame),
                    self._random,
                    self._own,
                    self._relieve,
                )
                self._filters.start(background)
                background.start_soon(self._readiness.run)
                background.start_soon(self._deadlines.run)
                self._build(self.config)
                try:
                    await self._accept(sockets, task_status)
                finally:
                    for dialling in self._built.services.values():
                        dialling.service.close()
                    background.cancel_scope.cancel()
        finally:
            self._filters.close()
            self._readiness.close()

    async def _accept(
        self,
        sockets: Mapping[str, Sequence[socket]],
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with trio.open_nursery() as self._accepting:
            for name, opened in sockets.items():
                self._listen(self._built.ports[name], opened)
            task_status.started()
            await self._draining.wait()
            self._begin_drain()
            with trio.move_on_after(self._grace):
                await self._wait_closed()
            self._cut()

    def apply(self, config: Config, opened: Mapping[str, Sequence[socket]]) -> None:
        """Go over to ``config``; ``opened`` are all sockets of changed listeners.

        Raises ConfigError, and then everything is as it was.
        """
        old = self._built
        self._build(config)
        self.config = config
        for name, sockets in opened.items():
            port = self._built.ports[name]
            # All the sockets of a listener whose addresses changed: they take over.
            for each in port.sockets:
                each.stop()
            port.sockets.clear()
            self._listen(port, sockets)
        for name, port in old.ports.items():
            if name not in config.listeners:
                self._close_port(port)

    def drain(self, grace: float) -> None:
        """Accept what is queued and no more, finish what is under way, then end.

        After ``grace`` seconds the rest is cut.
        """
        self._grace = grace
        self._draining.set()

    def _begin_drain(self) -> None:
        for port in self._built.ports.values():
            for listener in port.sockets:
                listener.stop()
            if port.http is not None:
                port.http.drain()

    async def _wait_closed(self) -> None:
        while self._listeners:
            await next(iter(self._listeners)).closed.wait()

    def _cut(self) -> None:
        for listener in self._listeners:
            log.warning(
                "grace is over listener=%s connections=%d cut",
                listener.name,
                listener.active,
            )
            listener.cut()

    # Building

    def _build(self, config: Config) -> None:
        """Build everything beside what runs, then swap it in; all or nothing."""
        old = self._built
        built = self._builder.build(config, old)
        if config.admin is not None:
            self._own.put("", [name_of(config.admin)])
        for name, dialling in built.services.items():
            if old.services.get(name) is not dialling:
                dialling.pipeline.adopt()
        for name, dialling in old.services.items():
            if built.services.get(name) is not dialling:
                dialling.service.close()
                dialling.pipeline.retire()
        for name, port in built.ports.items():
            self._swap(old.ports.get(name), port)
        self._built = built

    def _swap(self, standing: Port | None, port: Port) -> None:
        """Have a built port take over from the one that runs, if one does."""
        port.connections.adopt()
        if port.requests is not None:
            port.requests.adopt()
        if port.http is not None and port.requests is not None:
            port.http.pipeline = port.requests
            port.http.route = port.route
            port.http.limits = port.settings.http
            port.http.http2 = port.settings.http2
            port.http.refused = self._builder.refused(port.settings.direction)
        if standing is not None:
            port.sockets = standing.sockets
            for each in port.sockets:
                each.resize(port.settings.max_connections)
                each.serve = partial(self._serve, port)
            standing.connections.retire()
            if standing.http is not None and port.http is None:
                standing.http.retire()
            elif standing.requests is not None:
                standing.requests.retire()

    # Listening

    def _listen(self, port: Port, sockets: Sequence[socket]) -> None:
        assert self._accepting is not None
        name, cap = port.settings.name, port.settings.max_connections
        serve = partial(self._serve, port)
        self._now_own(name, sockets)
        for each in sockets:
            listener = Listener(name, each, self._readiness, serve, cap, self._relieve)
            port.sockets.append(listener)
            self._listeners.add(listener)
            self._accepting.start_soon(self._run_listener, listener)

    def _relieve(self) -> bool:
        """Give up some unused connections of a service; False when there are none."""
        return any(each.service.relieve() for each in self._built.services.values())

    def _now_own(self, name: str, sockets: Sequence[socket]) -> None:
        """The proxy listens here, and nowhere else by that name."""
        self._own.put(name, (each.getsockname() for each in sockets))
        original = self._built.services.get(ORIGINAL)
        if original is not None and isinstance(original.service, OriginalService):
            original.service.recheck()

    async def _run_listener(self, listener: Listener) -> None:
        try:
            await listener.run()
        finally:
            self._listeners.discard(listener)

    def _close_port(self, port: Port) -> None:
        assert self._accepting is not None
        self._now_own(port.settings.name, ())
        for listener in port.sockets:
            listener.stop()
        if port.http is not None:
            port.http.drain()
        self._accepting.start_soon(self._retire, port)

    async def _retire(self, port: Port) -> None:
        """Have its filters closed behind its last client: some are in the queue yet."""
        for listener in port.sockets:
            await listener.closed.wait()
        if port.http is not None:
            port.http.retire()
        port.connections.retire()

    async def _serve(
        self, port: Port, stream: SocketStream, client: str, server: str
    ) -> None:
        pipeline, direction = port.connections, port.settings.direction
        self._opened.add((direction, "src"))
        connection = Connection(stream, client, port.settings.name, direction, server)
        if isinstance(port.settings.to, ByOriginal):
            connection.original = original_destination(stream.socket)
        http = port.http
        pipeline.active += 1
        if http is not None:
            http.enter()
        reason = ""
        try:
            await pipeline.service(connection)
        except MeshError as error:
            reason = error.reason
            self._tell(port, client, error)
        except Exception as error:
            reason = type(error).__name__
            self._blame("connection", error)
        finally:
            pipeline.leave()
            if http is not None:
                http.leave()
            self._closed.add((direction, "src", reason))

    def _tell(self, port: Port, client: str, error: MeshError) -> None:
        """Log why a connection ended: at info now and then, for scanners come often."""
        now = self._deadlines.clock()
        is_due = now >= port.tells_at
        if is_due:
            port.tells_at = now + QUIET
        log.log(
            logging.INFO if is_due else logging.DEBUG,
            "connection ended listener=%s client=%s error=%s by=%s detail=%s",
            port.settings.name,
            client,
            error.reason,
            error.by,
            error,
        )

    # Looking

    def collect(self) -> None:
        """Bring the counters that are kept elsewhere up to date."""
        self._tallies.collect(self.metrics)

    def statistics(self) -> dict[str, object]:
        """For ``/stats``: listeners, services, and the runtime's own words."""
        runtime = [repr(self._readiness), repr(self._deadlines)]
        return {**shown.statistics(self._built), "runtime": runtime}

    def chains(self) -> dict[str, object]:
        """For ``/chain``: what each listener's traffic passes, in order."""
        return shown.chains(self._built)
