"""One worker: its listeners, chains and services, and how they change and end.

A configuration is built whole beside the one that runs, then swapped in by reference:
a request under way finishes on the chain it began on. Filters whose name and settings
stay the same keep their running instance.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from socket import socket
from typing import Any, cast

import attrs
import trio

from meshfilters.counters import Metrics
from meshfilters.env import SpanRecord
from meshfilters.errors import MeshError
from meshfilters.exchange import Connection, Direction, Endpoint
from meshfilters.message import Request, Response
from meshfilters.stream import Stream
from proxy.chain.filters import Filters
from proxy.chain.pipeline import (
    Blame,
    Pipeline,
    Running,
    Tallies,
    other_pipeline,
    request_pipeline,
)
from proxy.chain.side_tasks import SideTasks
from proxy.config.model import HTTP, ORIGINAL, ByHost, ByOriginal, Config
from proxy.config.model import Listener as ListenerSettings
from proxy.config.model import Service as ServiceSettings
from proxy.downstream.detect import Detect
from proxy.downstream.listen import Listener
from proxy.downstream.passthrough import Passthrough
from proxy.downstream.route import Route, opaque_route, requests_route
from proxy.downstream.serve import Http
from proxy.downstream.tcp import Tcp
from proxy.transport.deadlines import Deadlines
from proxy.transport.original import original_destination
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream
from proxy.upstream.dial import Dialer
from proxy.upstream.forward import Forward
from proxy.upstream.loops import LoopGuard, Own, name_of
from proxy.upstream.original import Destination, OriginalService
from proxy.upstream.service import Service, look_up

log = logging.getLogger("tulle.worker")

QUIET = 10.0
"""Seconds between two lines at info about connections that a listener's filters ended."""


@attrs.define(eq=False)
class Port:
    """One listener of the configuration as it runs."""

    settings: ListenerSettings
    connections: Pipeline[Connection, None]
    """What the next connection goes through."""
    http: Http | None
    """Kept over changes of its chain: it has the connections under way."""
    requests: Pipeline[Request, Response] | None
    route: Route
    sockets: list[Listener] = attrs.field(factory=list)
    tells_at: float = 0.0
    """When an ended connection is next worth a line at info."""


@attrs.define(eq=False)
class Dialling:
    """A service as it runs, and the chain it dials through."""

    service: Destination
    pipeline: Pipeline[Endpoint, Stream]


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
        self._services: dict[str, Dialling] = {}
        self._known: dict[str, Destination] = {}
        self._own = Own()
        self._ports: dict[str, Port] = {}
        self._listeners: set[Listener] = set()
        self._side_tasks: SideTasks | None = None
        self._accepting: trio.Nursery | None = None
        self._draining = trio.Event()
        self._grace = 0.0
        self._refused = metrics.counter(
            "tulle_http_refused_total",
            "Requests refused before they were one: the status and why.",
            ("direction", "status"),
        )
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
                self._side_tasks = SideTasks(background, self._blame)
                self._filters.start(background)
                background.start_soon(self._readiness.run)
                background.start_soon(self._deadlines.run)
                self._build(self.config)
                try:
                    await self._accept(sockets, task_status)
                finally:
                    for dialling in self._services.values():
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
                self._listen(self._ports[name], opened)
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
        gone = [name for name in self._ports if name not in config.listeners]
        self._build(config)
        self.config = config
        for name, sockets in opened.items():
            port = self._ports[name]
            # All the sockets of a listener whose addresses changed: they take over.
            for each in port.sockets:
                each.stop()
            port.sockets.clear()
            self._listen(port, sockets)
        for name in gone:
            self._close_port(self._ports.pop(name))

    def drain(self, grace: float) -> None:
        """Accept what is queued and no more, finish what is under way, then end.

        After ``grace`` seconds the rest is cut.
        """
        self._grace = grace
        self._draining.set()

    def _begin_drain(self) -> None:
        for port in self._ports.values():
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
        with self._filters.building():
            services = {
                name: self._service(settings)
                for name, settings in _services(config).items()
            }
            known = {name: each.service for name, each in services.items()}
            ports = {
                name: self._port(settings, config, known)
                for name, settings in config.listeners.items()
            }
        if config.admin is not None:
            self._own.put("", [name_of(config.admin)])
        old, self._services, self._known = self._services, services, known
        for name, dialling in services.items():
            if old.get(name) is not dialling:
                dialling.pipeline.adopt()
        for name, dialling in old.items():
            if services.get(name) is not dialling:
                dialling.service.close()
                dialling.pipeline.retire()
        for name, port in ports.items():
            self._swap(name, port)

    def _service(self, settings: ServiceSettings) -> Dialling:
        running = cast(
            list[Running[Endpoint, Stream]],
            self._filters.running("dial", settings.name, "outbound", settings.dial),
        )
        standing = self._services.get(settings.name)
        if standing is not None and standing.service.settings == settings:
            return standing
        assert self._side_tasks is not None
        dialer = Dialer(self._readiness, settings.connect_timeout)
        pipeline = other_pipeline(running, dialer, self._blame)
        shared = (settings, pipeline.counted, self._deadlines, self._side_tasks)
        service: Destination
        if settings.endpoints:
            service = Service(*shared, self._random, look_up)
        else:
            service = OriginalService(*shared, LoopGuard(self._own))
        return Dialling(service, pipeline)

    def _port(
        self, settings: ListenerSettings, config: Config, known: dict[str, Destination]
    ) -> Port:
        route = requests_route(settings.to, config.services)
        of_bytes = opaque_route(settings.to, config.services)
        http: Http | None = None
        requests: Pipeline[Request, Response] | None = None
        service: Detect | Passthrough | Tcp
        opaque = Tcp(of_bytes, known, self.metrics) if of_bytes is not None else None
        if settings.protocol in HTTP:
            requests = self._requests(settings, known)
            standing = self._ports.get(settings.name)
            http = standing.http if standing is not None else None
            http = http or self._http(settings, requests, route)
            service = Detect(settings, http, opaque, self.metrics)
        else:
            assert opaque is not None  # checked: without requests there are no hosts
            is_tls = settings.protocol == "tls"
            service = Passthrough(settings, opaque, self.metrics) if is_tls else opaque
        running = cast(
            list[Running[Connection, None]],
            self._filters.running(
                "connection", settings.name, settings.direction, settings.connection
            ),
        )
        connections = other_pipeline(running, service, self._blame)
        return Port(settings, connections, http, requests, route)

    def _requests(
        self, settings: ListenerSettings, known: dict[str, Destination]
    ) -> Pipeline[Request, Response]:
        running = cast(
            list[Running[Request, Response]],
            self._filters.running(
                "request", settings.name, settings.direction, settings.request
            ),
        )
        return request_pipeline(
            running, Forward(known, self._deadlines.clock), self._blame
        )

    def _http(
        self,
        settings: ListenerSettings,
        requests: Pipeline[Request, Response],
        route: Route,
    ) -> Http:
        assert self._side_tasks is not None
        return Http(
            requests,
            route,
            settings.http,
            settings.http2,
            self._deadlines,
            self._side_tasks,
            self._blame,
            self._count_refused(settings.direction),
        )

    def _count_refused(self, direction: Direction) -> Callable[[MeshError], None]:
        return lambda error: self._refused.add((direction, error.status))

    def _swap(self, name: str, port: Port) -> None:
        """Put a built port in the place of the one that runs, if one does."""
        port.connections.adopt()
        if port.requests is not None:
            port.requests.adopt()
        standing = self._ports.get(name)
        self._ports[name] = port
        if port.http is not None and port.requests is not None:
            port.http.pipeline = port.requests
            port.http.route = port.route
            port.http.limits = port.settings.http
            port.http.http2 = port.settings.http2
            port.http.refused = self._count_refused(port.settings.direction)
        if standing is not None:
            port.sockets = standing.sockets
            for each in port.sockets:
                each.resize(port.settings.max_connections)
            standing.connections.retire()
            if standing.http is not None and port.http is None:
                standing.http.retire()
            elif standing.requests is not None:
                standing.requests.retire()

    # Listening

    def _listen(self, port: Port, sockets: Sequence[socket]) -> None:
        assert self._accepting is not None
        name = port.settings.name

        async def serve(stream: SocketStream, client: str, server: str) -> None:
            await self._serve(self._ports.get(name, port), stream, client, server)

        self._now_own(name, sockets)
        for each in sockets:
            listener = Listener(
                name, each, self._readiness, serve, port.settings.max_connections
            )
            port.sockets.append(listener)
            self._listeners.add(listener)
            self._accepting.start_soon(self._run_listener, listener)

    def _now_own(self, name: str, sockets: Sequence[socket]) -> None:
        """The proxy listens here, and nowhere else by that name."""
        self._own.put(name, (each.getsockname() for each in sockets))
        original = self._known.get(ORIGINAL)
        if isinstance(original, OriginalService):
            original.recheck()

    async def _run_listener(self, listener: Listener) -> None:
        try:
            await listener.run()
        finally:
            self._listeners.discard(listener)

    def _close_port(self, port: Port) -> None:
        self._now_own(port.settings.name, ())
        for listener in port.sockets:
            listener.stop()
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
        """For ``/stats``: listeners, services, and the filters' own words."""
        return {
            "listeners": {
                name: [each.statistics() for each in port.sockets]
                for name, port in self._ports.items()
            },
            "http": {
                name: repr(port.http)
                for name, port in self._ports.items()
                if port.http is not None
            },
            "services": {name: each.statistics() for name, each in self._known.items()},
            "runtime": [repr(self._readiness), repr(self._deadlines)],
        }

    def chains(self) -> dict[str, object]:
        """For ``/chain``: what each listener's traffic passes, in order."""
        return {name: self._chain(port) for name, port in self._ports.items()}

    def _chain(self, port: Port) -> dict[str, object]:
        settings = port.settings
        requests = port.http.pipeline.filters if port.http is not None else ()
        return {
            "address": list(settings.address),
            "direction": settings.direction,
            "protocol": settings.protocol,
            "to": _shown_to(settings.to),
            "connection": [_shown(each) for each in port.connections.filters],
            "request": [_shown(each) for each in requests],
            "dial": {
                name: [_shown(each) for each in dialling.pipeline.filters]
                for name, dialling in self._services.items()
                if dialling.pipeline.filters
            },
        }


def _shown(running: Running[Any, Any]) -> dict[str, str]:
    return {"filter": running.name, "settings": repr(running.placed.settings)}


def _shown_to(to: str | ByHost | ByOriginal) -> str:
    if isinstance(to, str):
        return to
    return "by host" if isinstance(to, ByHost) else "by original"


def _services(config: Config) -> Mapping[str, ServiceSettings]:
    """Every service, with that of original addresses where one listener needs it."""
    if any(isinstance(each.to, ByOriginal) for each in config.listeners.values()):
        return {ORIGINAL: ServiceSettings(ORIGINAL, ()), **config.services}
    return config.services
