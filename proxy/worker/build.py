"""From a configuration to what serves it: services, listeners' ports, and their chains.

All of it is built beside what runs, which is asked only for what may go on: a service
whose settings stayed with the connections in its pools, a listener's HTTP with those of
its clients. Filters whose name and settings stay the same keep their running instance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import cast

import attrs

from meshfilters.counters import Metrics
from meshfilters.errors import MeshError
from meshfilters.exchange import Connection, Direction, Endpoint
from meshfilters.message import Request, Response
from meshfilters.stream import Stream
from proxy.chain.filters import Filters
from proxy.chain.pipeline import (
    Blame,
    Pipeline,
    Running,
    is_stream,
    other_pipeline,
    request_pipeline,
)
from proxy.chain.side_tasks import SideTasks
from proxy.config.model import HTTP, ORIGINAL, ByOriginal, Config
from proxy.config.model import Listener as ListenerSettings
from proxy.config.model import Service as ServiceSettings
from proxy.downstream.detect import Detect
from proxy.downstream.listen import Listener
from proxy.downstream.passthrough import Passthrough
from proxy.downstream.route import Route, opaque_route, requests_route
from proxy.downstream.serve import Http
from proxy.downstream.tcp import Tcp
from proxy.transport.deadlines import Deadlines
from proxy.transport.descriptors import Relieve
from proxy.transport.readiness import Readiness
from proxy.upstream.dial import Dialer
from proxy.upstream.forward import Forward
from proxy.upstream.loops import LoopGuard, Own
from proxy.upstream.original import Destination, OriginalService
from proxy.upstream.service import Service, look_up


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


@attrs.frozen
class Built:
    """What serves one configuration."""

    services: Mapping[str, Dialling] = attrs.field(factory=dict)
    ports: Mapping[str, Port] = attrs.field(factory=dict)

    @property
    def known(self) -> dict[str, Destination]:
        """Where requests and connections may go, by name."""
        return {name: each.service for name, each in self.services.items()}


class Builder:
    """Builds for one worker."""

    def __init__(
        self,
        filters: Filters,
        metrics: Metrics,
        blame: Blame,
        readiness: Readiness,
        deadlines: Deadlines,
        side_tasks: SideTasks,
        random: Random,
        own: Own,
        relieve: Relieve,
    ) -> None:
        self._filters = filters
        self._metrics = metrics
        self._blame = blame
        self._readiness = readiness
        self._deadlines = deadlines
        self._side_tasks = side_tasks
        self._random = random
        self._own = own
        self._relieve = relieve
        self._refused = metrics.counter(
            "tulle_http_refused_total",
            "Requests refused before they were one: the status and why.",
            ("direction", "status"),
        )

    def build(self, config: Config, standing: Built) -> Built:
        """What serves ``config``, with what goes on of ``standing``; all or nothing.

        Raises ConfigError.
        """
        with self._filters.building():
            services = {
                name: self._service(settings, standing.services.get(name))
                for name, settings in _services(config).items()
            }
            built = Built(services)
            known = built.known
            ports = {
                name: self._port(settings, config, known, standing.ports.get(name))
                for name, settings in config.listeners.items()
            }
        return attrs.evolve(built, ports=ports)

    def refused(self, direction: Direction) -> Callable[[MeshError], None]:
        """Who counts the requests that were refused before they were one."""
        return lambda error: self._refused.add((direction, error.status))

    def _service(
        self, settings: ServiceSettings, standing: Dialling | None
    ) -> Dialling:
        running = cast(
            list[Running[Endpoint, Stream]],
            self._filters.running("dial", settings.name, "outbound", settings.dial),
        )
        if standing is not None and standing.service.settings == settings:
            return standing
        dialer = Dialer(self._readiness, settings.connect_timeout, self._relieve)
        pipeline = other_pipeline(running, dialer, self._blame, is_stream)
        shared = (settings, pipeline.counted, self._deadlines, self._side_tasks)
        service: Destination
        if settings.endpoints:
            service = Service(*shared, self._random, look_up)
        else:
            service = OriginalService(*shared, LoopGuard(self._own))
        return Dialling(service, pipeline)

    def _port(
        self,
        settings: ListenerSettings,
        config: Config,
        known: dict[str, Destination],
        standing: Port | None,
    ) -> Port:
        route = requests_route(settings.to, config.services)
        of_bytes = opaque_route(settings.to, config.services)
        http: Http | None = None
        requests: Pipeline[Request, Response] | None = None
        service: Detect | Passthrough | Tcp
        opaque = Tcp(of_bytes, known, self._metrics) if of_bytes is not None else None
        if settings.protocol in HTTP:
            requests = self._requests(settings, known)
            http = standing.http if standing is not None else None
            http = http or self._http(settings, requests, route)
            service = Detect(settings, http, opaque, self._metrics)
        else:
            assert opaque is not None  # checked: without requests there are no hosts
            is_tls = settings.protocol == "tls"
            service = Passthrough(settings, opaque, self._metrics) if is_tls else opaque
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
        return Http(
            requests,
            route,
            settings.http,
            settings.http2,
            self._deadlines,
            self._side_tasks,
            self._blame,
            self.refused(settings.direction),
        )


def _services(config: Config) -> Mapping[str, ServiceSettings]:
    """Every service, with that of original addresses where one listener needs it."""
    if any(isinstance(each.to, ByOriginal) for each in config.listeners.values()):
        return {ORIGINAL: ServiceSettings(ORIGINAL, ()), **config.services}
    return config.services
