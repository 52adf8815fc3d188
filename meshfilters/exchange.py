"""One request's life: the connection it came on, its attempts, how it ended."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, Protocol

import attrs

from meshfilters.errors import MeshError
from meshfilters.stream import Stream, Tls

if TYPE_CHECKING:
    from meshfilters.message import Headers

Direction = Literal["inbound", "outbound"]

GRPC_FAILURES = frozenset({2, 4, 7, 13, 14, 15})
"""gRPC codes that count as failures (linkerd/app/core/src/classify.rs)."""


@attrs.define(eq=False)
class Connection:
    """A client's connection, as the filters so far have left it."""

    stream: Stream
    client: str
    """``10.0.0.7:51034``, ``[::1]:51034`` or ``unix``."""
    listener: str
    """The listener's name in the configuration."""
    direction: Direction
    server: str = ""
    """The address it came to, as ``client`` is written."""
    tls: Tls | None = None
    server_name: str | None = None
    """The SNI of a TLS that is passed through; of one that ends here, see ``tls``."""
    original: str | None = None
    """Where it was going when the kernel redirected it here; None on listeners that do
    not ask. Of a connection that came directly, the address it came to."""

    @property
    def identity(self) -> str | None:
        """The name the client proved with its certificate."""
        return self.tls.peer.identity if self.tls and self.tls.peer else None

    def with_(self, stream: Stream, tls: Tls | None = None) -> Connection:
        """A copy on another stream: what a connection filter hands to ``inner``."""
        return attrs.evolve(self, stream=stream, tls=tls or self.tls)


@attrs.frozen
class Endpoint:
    """One address of a service."""

    service: str
    address: str
    """``10.0.0.7:8080``, ``[::1]:8080`` or ``unix:/run/app.sock``: never a host name."""
    host: str = ""
    """The name that was resolved to the address, if it was one."""
    alpn: tuple[str, ...] | None = None
    """What the connection is for, in ALPN's names: what a dial filter that speaks TLS has
    to offer instead of its own list. Empty for bytes that are no HTTP."""


@attrs.define(eq=False)
class Attempt:
    """One try at one endpoint."""

    number: int
    """1 for the first."""
    endpoint: Endpoint
    started: float
    headers: Headers
    """What this try sends. A callback of ``on_attempt`` may still edit them."""
    identity: str | None = None
    """The name the upstream proved."""
    reused: bool = False
    """Whether it went out on a pooled connection."""
    head: float | None = None
    """When the head of the response was there."""
    ended: float | None = None
    status: int | None = None
    error: MeshError | None = None
    grpc_status: int | None = None
    """Noted by who drops its response to try again; the last one's is the exchange's."""
    give_up: Callable[[], bool] | None = None
    """The runtime's: close what is left of it; True if anything was."""


@attrs.define(eq=False)
class Limits:
    """Seconds an exchange may take; infinite where nobody set one.

    ``request``: from its start to the last byte of the response.
    ``head``: from the request sent in full to the head of the response.
    ``attempt``: one attempt, from choosing its endpoint to the response's head.
    ``idle``: without a byte either way.
    """

    request: float = math.inf
    head: float = math.inf
    attempt: float = math.inf
    idle: float = math.inf


@attrs.define(eq=False)
class Outcome:
    """How an exchange ended. Times are seconds, sizes are body bytes: a tunnel's are all
    that went through it."""

    status: int | None
    """What the client was sent; None when no head went out."""
    error: MeshError | None = None
    received: int = 0
    sent: int = 0
    head: float | None = None
    """From the start to the head of the response."""
    seconds: float = 0.0
    attempts: int = 0
    trailers: Headers | None = None
    grpc_status: int | None = None
    """From the trailers or a trailers-only head; None when it is not gRPC."""

    @property
    def is_success(self) -> bool:
        """Linkerd's classification: no error, no 5xx, no failing gRPC code."""
        return (
            self.error is None
            and self.status is not None
            and self.status < 500
            and self.grpc_status not in GRPC_FAILURES
        )


class Runtime(Protocol):
    """What an exchange needs of whoever runs it: the proxy, or the test kit."""

    def cancel(self, exchange: Exchange) -> None: ...

    def rearm(self, exchange: Exchange) -> None: ...

    def start_soon(
        self, exchange: Exchange, task: Callable[[], Awaitable[None]]
    ) -> None: ...

    def blame(self, owner: str, error: Exception) -> None: ...


class Exchange:
    """One request of a client's, with all its attempts, to the last byte.

    It outlives every filter's frame, so what must last until the last byte hangs
    here: limits, side tasks, callbacks. Made and ended by the runtime.
    """

    __slots__ = (
        "_on_attempt",
        "_on_end",
        "_runtime",
        "attempts",
        "connection",
        "informational",
        "limits",
        "outcome",
        "owner",
        "reason",
        "spent",
        "started",
        "timings",
        "version",
    )

    def __init__(
        self, connection: Connection, started: float, limits: Limits, runtime: Runtime
    ) -> None:
        self.connection = connection
        self.started = started
        self.limits = limits
        self.attempts: list[Attempt] = []
        self.outcome: Outcome | None = None
        """Set once, when it is over."""
        self.reason: MeshError | None = None
        """Why it was cancelled."""
        self.owner = ""
        """The filter that is running: whose a callback registered now will be."""
        self.spent = 0.0
        """For the runtime's timing: seconds that services inside have taken."""
        self.timings: dict[str, float] | None = None
        """Seconds by filter, for an exchange somebody asked them of (``trace``)."""
        self.informational: Callable[[int, Headers], Awaitable[None]] | None = None
        """Sends the client a 1xx of the upstream's, past the filters; None for HTTP/1.0."""
        self.version = "1.1"
        """Of HTTP, as the client speaks it: ``1.0``, ``1.1`` or ``2``."""
        self._runtime = runtime
        self._on_end: list[tuple[Callable[[Outcome], None], str]] = []
        self._on_attempt: list[tuple[Callable[[Attempt], None], str]] = []

    @property
    def peer(self) -> str | None:
        """The name the client proved with its certificate."""
        return self.connection.identity

    def lower(
        self,
        *,
        request: float = math.inf,
        head: float = math.inf,
        attempt: float = math.inf,
        idle: float = math.inf,
    ) -> None:
        """Lower limits, in seconds from the exchange's start; none is ever raised."""
        limits = self.limits
        if head < limits.head:
            limits.head = head
        if attempt < limits.attempt:
            limits.attempt = attempt
        is_sooner = False
        if request < limits.request:
            limits.request = request
            is_sooner = True
        if idle < limits.idle:
            limits.idle = idle
            is_sooner = True
        if is_sooner:
            self._runtime.rearm(self)

    def cancel(self, reason: MeshError) -> None:
        """End the exchange with ``reason``, wherever it stands. The first one counts."""
        if self.reason is None and self.outcome is None:
            self.reason = reason
            self._runtime.cancel(self)

    def on_end(self, callback: Callable[[Outcome], None]) -> None:
        """Have ``callback`` called exactly once, after the last byte or the failure."""
        self._on_end.append((callback, self.owner))

    def on_attempt(self, callback: Callable[[Attempt], None]) -> None:
        """Have ``callback`` called before each attempt sends anything."""
        self._on_attempt.append((callback, self.owner))

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run ``task`` beside the exchange, whose end cancels and joins it.

        An error of the task's is logged and counted against its filter, no more.
        """
        self._runtime.start_soon(self, task)

    def begin(self, attempt: Attempt) -> None:
        """Called by the runtime: record an attempt and tell who asked."""
        self.attempts.append(attempt)
        for callback, owner in self._on_attempt:
            try:
                callback(attempt)
            except Exception as error:
                self._runtime.blame(owner, error)

    @property
    def is_watched(self) -> bool:
        """Whether anybody asked for attempts: only then are their headers copied."""
        return bool(self._on_attempt)

    def end(self, outcome: Outcome) -> None:
        """Called by the runtime, once: record the outcome and tell who asked."""
        self.outcome = outcome
        for callback, owner in self._on_end:
            try:
                callback(outcome)
            except Exception as error:
                self._runtime.blame(owner, error)
        # A callback may well hold the exchange or its request: without this, each
        # request would be a cycle and wait for the garbage collector.
        self._on_end.clear()
        self._on_attempt.clear()
