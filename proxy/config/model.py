"""The configuration as frozen values: what the rest of the proxy reads.

Field names are the keys of the file. Times are seconds, sizes are bytes, addresses
are ``host:port``, ``[v6]:port`` or ``unix:/path``. No value here does anything.
"""

from __future__ import annotations

from typing import Literal

import attrs
from attrs.validators import ge, gt, in_, le, optional

from meshfilters.api import Configured
from meshfilters.exchange import Direction

Level = Literal["connection", "request", "dial"]
Protocol = Literal["detect", "http1", "http2", "grpc", "tls", "opaque"]
"""What a listener's clients speak. ``grpc`` is HTTP/2 by another name."""
HTTP: frozenset[object] = frozenset({"detect", "http1", "http2", "grpc"})
"""The protocols of listeners that may see requests."""
ServiceProtocol = Literal["auto", "http1", "http2", "grpc"]


@attrs.frozen
class Placed:
    """A filter in its place in a chain: the word in the file and its settings."""

    name: str
    settings: Configured[object]


@attrs.frozen
class Log:
    """What goes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


@attrs.frozen
class Tracing:
    """Where the agent sends spans, and how many roots are sampled."""

    endpoint: str | None = None
    """The collector's base URL, as in OTEL_EXPORTER_OTLP_ENDPOINT; None is off."""
    protocol: Literal["http", "grpc"] = "http"
    ratio: float = attrs.field(default=0.0, validator=[ge(0), le(1)])
    service: str = "tulle"
    """``service.name`` of the resource."""


@attrs.frozen
class Http:
    """What a client may send, and how long it may take. Limits are inclusive."""

    max_headers: int = attrs.field(default=100, validator=ge(1))
    """Fields of one head (Envoy: 100). More is 431."""
    max_head: int = attrs.field(default=60 * 1024, validator=ge(256))
    """Bytes of one head (Envoy: 60 KiB). More is 431."""
    max_target: int = attrs.field(default=16 * 1024, validator=ge(64))
    """Bytes of the request target (HAProxy: its 16 KiB buffer). More is 414."""
    max_body: int | None = attrs.field(default=None, validator=optional(ge(0)))
    """Bytes of a request's body; None is without limit. More is 413."""
    head_timeout: float = attrs.field(default=10.0, validator=gt(0))
    """From a request's first byte to its head in full. Longer is 408."""
    keep_alive: float = attrs.field(default=60.0, validator=gt(0))
    """How long a connection may stay without a request."""
    stall_timeout: float = attrs.field(default=60.0, validator=gt(0))
    """How long a client may send or take no byte of a body that is under way."""
    connect: bool = False
    """Whether CONNECT is forwarded; 405 otherwise."""


PING_INTERVAL: float | None = 10.0
MAX_AGE: float | None = 600.0


@attrs.frozen
class Http2:
    """HTTP/2 on one side: what the peer is granted, and how its connection is kept.

    Sizes lie in the ranges of RFC 9113, 6.5.2 and 6.9.
    """

    max_streams: int = attrs.field(default=100, validator=[ge(1), le(2**31 - 1)])
    """Requests at once on a connection (RFC 9113: no fewer than 100 are advised)."""
    stream_window: int = attrs.field(default=65_535, validator=[ge(1), le(2**31 - 1)])
    """Bytes of one body that may be on their way (Linkerd: 64 KiB), before it is seen to
    be read as fast as it comes: then it gets up to a quarter of the connection's."""
    connection_window: int = attrs.field(
        default=1024 * 1024, validator=[ge(65_535), le(2**31 - 1)]
    )
    """Bytes of all bodies of a connection that may be on their way (Linkerd: 1 MiB)."""
    max_frame: int = attrs.field(default=16_384, validator=[ge(16_384), le(2**24 - 1)])
    """Bytes of one frame's payload."""
    ping_interval: float | None = attrs.field(
        default=PING_INTERVAL, validator=optional(gt(0.0))
    )
    """Seconds without a frame after which the peer is pinged (Linkerd); None is never."""
    ping_timeout: float = attrs.field(default=3.0, validator=gt(0))
    """Seconds a pinged peer has to answer before it counts as gone (Linkerd)."""
    max_age: float | None = attrs.field(default=MAX_AGE, validator=optional(gt(0.0)))
    """Seconds until a connection takes no more requests, give or take 10 %; None is no
    limit. Streams under way are finished."""


@attrs.frozen
class ByHost:
    """Each request goes to the service its Host names; an unknown name is 404."""


@attrs.frozen
class ByOriginal:
    """Each connection goes on where it was going before the kernel redirected it: to
    the service that has the address among its ``addresses``, or to the address itself."""


ORIGINAL = "original"
"""The destination of what goes to an address that no service has. A service of that
name, without endpoints, says how those are connected to."""


@attrs.frozen
class Listener:
    """One address (or several) where connections come in, and their chains."""

    name: str
    address: tuple[str, ...]
    to: str | ByHost | ByOriginal
    """A service's name; ``ByHost`` only where there can be requests."""
    direction: Direction = "outbound"
    protocol: Protocol = "detect"
    detect_timeout: float = attrs.field(default=10.0, validator=gt(0))
    """Seconds until a client that has not shown its protocol is opaque (Linkerd)."""
    connection: tuple[Placed, ...] = ()
    request: tuple[Placed, ...] = ()
    http: Http = Http()
    http2: Http2 = Http2()
    max_connections: int = attrs.field(default=10_000, validator=ge(1))
    """In each worker; at the cap, accepting waits."""
    backlog: int = attrs.field(default=4096, validator=[ge(1), le(2**31 - 1)])
    """Connections that the kernel keeps waiting; to it, 32 bits with a sign."""


@attrs.frozen
class Service:
    """A name that requests are sent to, and where it is."""

    name: str
    endpoints: tuple[str, ...]
    """``host:port``, ``[v6]:port`` or ``unix:/path``."""
    protocol: ServiceProtocol = "auto"
    """``auto``: what ALPN agrees on where a dial filter speaks TLS, else what the client
    speaks, down to HTTP/1.1 where the endpoint knows no other."""
    dial: tuple[Placed, ...] = ()
    connect_timeout: float = attrs.field(default=1.0, validator=gt(0))
    """Linkerd's outbound default."""
    pool_idle: float = attrs.field(default=3.0, validator=gt(0))
    """Seconds an unused connection is kept (Linkerd: 3, below common servers' 5)."""
    pool_size: int = attrs.field(default=10_000, validator=ge(0))
    """Unused connections kept for each endpoint in each worker (Linkerd: 10,000). With
    fewer than there are requests at a time, most would be closed and opened anew."""
    resolve: float = attrs.field(default=5.0, validator=gt(0))
    """Seconds after which a host name is looked up again (Linkerd's floor)."""
    http2: Http2 = Http2()
    addresses: tuple[str, ...] = ()
    """Where redirected connections were going that mean this service, as the kernel has
    them: ``10.0.0.7:80``, ``[fd00::7]:80``; ``0.0.0.0`` or ``[::]`` for every host."""


@attrs.frozen
class Config:
    """A whole configuration that has passed every check."""

    listeners: dict[str, Listener] = attrs.field(factory=dict)
    services: dict[str, Service] = attrs.field(factory=dict)
    workers: int | Literal["auto"] = attrs.field(default=1)
    admin: str | None = None
    shutdown: bool = False
    """Whether the admin port answers POST /shutdown from loopback."""
    grace: float = attrs.field(default=30.0, validator=gt(0))
    log: Log = Log()
    tracing: Tracing = Tracing()
    version: int = attrs.field(default=1, validator=in_([1]))
