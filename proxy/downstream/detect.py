"""What a client speaks, found out without being told: the joint before the protocols.

It is asked of, in this order: what ALPN agreed on, the listener's ``protocol``, the first
bytes. These are received and handed on, not peeked at, so that they are copied once.

A client that has shown nothing when the limit runs out may wait for its server to speak
first. It is connected to its service then, and both may speak; but its first bytes are
still looked at (``guard.py``). So a client that connects long before it has a request is
served as any other, and waiting leads nobody around the filters.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType

import trio

from meshfilters.counters import Counter, Metrics
from meshfilters.errors import BadRequest, Refused
from meshfilters.exchange import Connection
from meshfilters.stream import Stream
from proxy.codec.detect import detect, settle
from proxy.config.model import Listener
from proxy.downstream import session
from proxy.downstream.guard import Guarded
from proxy.downstream.serve import Http
from proxy.downstream.serving import ENDED
from proxy.downstream.tcp import Tcp
from proxy.transport.stream import SMALLEST_READ, SocketStream

log = logging.getLogger("tulle.detect")

QUIET = 10.0
"""Seconds between two lines at info about detections that ran into their limit."""

AGREED: Mapping[str, str] = {"http/1.1": "http1", "h2": "http2", "tulle/1": "http2"}
"""What ALPN names."""

TOLD: Mapping[str, str] = {"http1": "http1", "http2": "http2", "grpc": "http2"}
"""What a listener's ``protocol`` names."""


def detections(metrics: Metrics) -> Counter:
    """Connections by listener and what came of looking at them."""
    return metrics.counter(
        "tulle_detect_total",
        "Connections by what they were found to speak.",
        ("direction", "listener", "result"),
    )


class Detect:
    """A connection service: finds out the protocol, and has the connection served."""

    def __init__(
        self, settings: Listener, http: Http, tcp: Tcp | None, metrics: Metrics
    ) -> None:
        """Without ``tcp`` there is nowhere to take opaque bytes to."""
        self._settings = settings
        self._told = TOLD.get(settings.protocol)
        self._http = http
        self._tcp = tcp
        self._results = detections(metrics)
        self._tells_at = -math.inf

    async def __call__(self, connection: Connection, /) -> None:
        """Raises MeshError where opaque bytes can't be passed on."""
        known, tls = self._told, connection.tls
        if tls is not None and tls.alpn is not None:
            known = AGREED.get(tls.alpn, known)
        if known is not None:
            await self._http(connection, is_http2=known == "http2")
            return
        stream = connection.stream
        first = _at_hand(stream)
        kind: str | None = detect(first)
        if kind is None:
            first, kind = await self._wait(stream, first)
        if kind in ("http1", "http2"):
            self._count(kind)
            await self._http(connection, first, is_http2=kind == "http2")
        elif kind in ("tls", "opaque", "unlikely"):
            await self._pass_on(connection, first, kind)
        elif kind == "timeout":
            await self._connect(connection, first)
        else:
            self._count("closed")

    async def _wait(self, stream: Stream, first: bytes) -> tuple[bytes, str]:
        receive: Callable[[], Awaitable[bytes]] = getattr(
            stream, "receive_soon", stream.receive_some
        )
        try:
            with Undecided(self._http, self._settings.detect_timeout) as undecided:
                while data := await receive():
                    first += data
                    kind = detect(first)
                    if kind is not None:
                        return first, kind
                return first, settle(first) if first else "closed"
        except ENDED:
            return b"", "closed"
        if undecided.is_draining:
            return b"", "closed"
        return first, "timeout"

    async def _pass_on(self, connection: Connection, first: bytes, kind: str) -> None:
        if self._tcp is None:
            self._count("refused")
            raise Refused("bytes that are no request, where the host decides")
        if kind == "unlikely":
            self._count("opaque")
            await self._guard(self._tcp, connection, first, math.inf)
        else:
            self._count(kind)
            await self._tcp(connection, first)

    async def _connect(self, connection: Connection, first: bytes) -> None:
        """The limit ran out: opaque, unless a request comes of it after all."""
        self._count("timeout")
        if self._tcp is None or (first and settle(first) == "http1"):
            await self._http(connection, first)
            return
        self._tell(connection, len(first))
        patience = self._http.limits.keep_alive
        await self._guard(self._tcp, connection, first, patience)

    async def _guard(
        self, tcp: Tcp, connection: Connection, first: bytes, patience: float
    ) -> None:
        """Pass bytes on until a request comes of them, or nothing at all."""
        with Undecided(self._http, patience) as undecided:
            guarded = Guarded(connection.stream, first, undecided.scope)
            await tcp(connection.with_(guarded), first)
        if guarded.kind in ("http1", "http2"):
            if guarded.has_moved:
                raise BadRequest("a request behind bytes that were passed on")
            is_http2 = guarded.kind == "http2"
            await self._http(connection, guarded.first, is_http2=is_http2)

    def _count(self, result: str) -> None:
        settings = self._settings
        self._results.add((settings.direction, settings.name, result))

    def _tell(self, connection: Connection, received: int) -> None:
        now = self._http.clock()
        is_due = now >= self._tells_at
        if is_due:
            self._tells_at = now + QUIET
        log.log(
            logging.INFO if is_due else logging.DEBUG,
            "detection ran into its limit listener=%s address=%s client=%s received=%d "
            "seconds=%g; protocol: opaque on the listener spares the wait",
            self._settings.name,
            connection.server,
            connection.client,
            received,
            self._settings.detect_timeout,
        )


class Undecided:
    """A client that may be waited for, and let go a moment after a drain begins."""

    def __init__(self, http: Http, seconds: float) -> None:
        self.is_draining = False
        self.scope = trio.move_on_after(seconds)
        self._http = http

    @property
    def is_busy(self) -> bool:
        """Whether bytes have moved, so that it is not for the drain to end it."""
        return self.scope.deadline == math.inf

    def drain(self) -> None:
        """Give up what has shown nothing yet, in a moment."""
        self.is_draining = True
        if not self.is_busy:
            soon = trio.current_time() + session.MOMENT
            self.scope.deadline = min(self.scope.deadline, soon)

    def __enter__(self) -> Undecided:
        self.scope.__enter__()
        self._http.sessions.add(self)
        if self._http.is_draining:
            self.drain()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._http.sessions.discard(self)
        return self.scope.__exit__(kind, error, traceback)


def _at_hand(stream: Stream) -> bytes:
    """What has come already: most clients speak at once, and then no scope is needed."""
    if type(stream) is not SocketStream:
        return b""
    try:
        return stream.socket.recv(SMALLEST_READ)
    except BlockingIOError:
        stream.watch.readable = stream.watch.has_hung_up
        return b""
    except OSError:
        return b""  # whoever waits is told
