"""The connections to one endpoint: those in use, and the unused ones worth keeping.

HTTP/1.1 connections are taken last in, first out, so that what is not needed grows old
and is closed; HTTP/2 ones are shared (``shared.py``). Which of the two a request is sent
on: what the service's ``protocol`` says; if that is ``auto``, what ALPN agreed on where
there is TLS, and otherwise what the client speaks. An endpoint without TLS that turns out
to know no HTTP/2 is spoken to in HTTP/1.1 from then on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, Union

import attrs

from meshfilters.exchange import Endpoint
from meshfilters.message import Request
from meshfilters.stream import Stream
from proxy.chain.pipeline import FORWARD
from proxy.chain.side_tasks import SideTasks
from proxy.codec.orig_proto import MESH
from proxy.config.model import Http2, ServiceProtocol
from proxy.transport.deadlines import Deadlines
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.shared import Shared
from proxy.upstream.websocket import is_websocket

if TYPE_CHECKING:
    from proxy.upstream.multiplexed import ClientConnection

PENALTY, LONGEST_PENALTY = 0.1, 10.0
"""Seconds an endpoint that refused is passed over; doubled up to the longest."""

HTTP1_FOR = 60.0
"""Seconds after which an endpoint that knew no HTTP/2 is tried with it again."""

RELIEF = 32
"""Unused connections that are closed at a time: all 10,000 would take 0.1 s."""

HTTP2 = (MESH, "h2")
HTTP1 = ("http/1.1",)
"""What ALPN calls them."""

Speaks = Literal["http1", "http2", "unknown"]


Connection = Union[UpstreamConnection, "ClientConnection"]


class Pool:
    """Connections to one endpoint, and whether it takes any."""

    def __init__(
        self,
        endpoint: Endpoint,
        open_stream: Callable[[Endpoint], Awaitable[Stream]],
        deadlines: Deadlines,
        side_tasks: SideTasks,
        *,
        size: int,
        idle: float,
        protocol: ServiceProtocol = "auto",
        http2: Http2 | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.active = 0
        """Connections in use or being opened: the load the balancer compares."""
        self.opened = 0
        self.reused = 0
        self.failed = 0
        self._dial = open_stream
        self._deadlines = deadlines
        self._side_tasks = side_tasks
        self._size = size
        self._idle_limit = idle
        self._idle: deque[UpstreamConnection] = deque()
        self._timer = deadlines.timer(self._close_old)
        self._protocol = protocol
        self._http2 = http2 or Http2()
        self._shared = Shared(endpoint.address)
        self._alpn: str | None = None
        """What TLS agreed on at the last dial; empty without TLS, None before any."""
        self._is_proven = False
        """Whether the endpoint has spoken HTTP/2 without TLS."""
        self._http1_until = 0.0
        self._is_closed = False
        self._penalty = 0.0
        self._down_until = 0.0

    @property
    def is_down(self) -> bool:
        """Whether it refused a moment ago, and another endpoint had better be tried."""
        return self._penalty > 0 and self._deadlines.clock() < self._down_until

    def take(self, request: Request) -> Connection | None:
        """A connection that is open and good, now in use; None if there is none."""
        speaks = self._speaks(request)
        if speaks == "http2":
            shared = self._shared.take()
            if shared is not None:
                self.active += 1
                self.reused += 1
            return shared
        left = RELIEF
        while self._idle and left:
            left -= 1
            connection = self._idle.pop()
            if connection.is_usable:
                self.active += 1
                self.reused += 1
                return connection
            self.active += 1  # closing it gives it back
            connection.close()
        return None

    def _speaks(self, request: Request) -> Speaks:
        if self._protocol != "auto":
            return "http1" if self._protocol == "http1" else "http2"
        if self._alpn is None:
            return "unknown"
        is_http1_only = (
            b"upgrade" in request.headers.index or request.method == b"CONNECT"
        )
        if self._alpn in HTTP2:
            if is_http1_only and not self._takes_websocket(request):
                return "http1"
            return "http2"
        if self._alpn or request.exchange.version != "2" or is_http1_only:
            return "http1"
        return "http1" if self._deadlines.clock() < self._http1_until else "http2"

    def _takes_websocket(self, request: Request) -> bool:
        """Whether it is a WebSocket, and goes over HTTP/2 (between sidecars it does not)."""
        if self._alpn == MESH or not is_websocket(request):
            return False
        shared = self._shared.take()
        return shared is not None and shared.takes_websockets

    async def open(self, request: Request) -> Connection:
        """A connection for a request, in use. Raises MeshError; nothing was sent then."""
        while True:
            speaks = self._speaks(request)
            if speaks == "http1":
                endpoint = attrs.evolve(self.endpoint, alpn=HTTP1)
                return self._http1(await self.open_stream(endpoint))
            shared = self._shared.take()
            if shared is not None:
                self.active += 1
                self._shared.wake()  # for the next, if there is room behind this one
                return shared
            opened = await self._shared.opened(lambda: self._open_one(request))
            if opened is None:
                continue
            if isinstance(opened, UpstreamConnection):
                return opened
            if opened.is_usable or opened.is_leaving:
                return opened
            self.active -= 1  # others, who waited for room, were faster

    async def _open_one(self, request: Request) -> Connection | None:
        """A new connection, of the protocol that the endpoint turns out to speak."""
        endpoint = self.endpoint
        if self._protocol != "auto":
            endpoint = attrs.evolve(endpoint, alpn=HTTP2)
        stream = await self.open_stream(endpoint)
        if self._protocol == "auto":
            tls = stream.tls
            self._alpn = "" if tls is None else tls.alpn or HTTP1[0]
            if self._speaks(request) == "http1":
                if not self._alpn or self._alpn in HTTP1:
                    return self._http1(stream)
                # The protocol is known now, and is not the one for this request.
                try:
                    await self._share(stream).ready()
                finally:
                    self.active -= 1
                return None
        connection = self._share(stream)
        # Its limit of streams comes first: more would be refused, and a body that is
        # on its way cannot be sent again.
        try:
            is_http2 = await connection.ready()
        except BaseException:
            self.active -= 1
            raise
        if self._protocol == "auto" and not self._alpn and not self._is_proven:
            self._is_proven = is_http2
            if not self._is_proven:
                self._http1_until = self._deadlines.clock() + HTTP1_FOR
                self.active -= 1
                return None
        return connection

    def _http1(self, stream: Stream) -> UpstreamConnection:
        return UpstreamConnection(
            stream, self._deadlines, self._side_tasks, self._release
        )

    def _share(self, stream: Stream) -> ClientConnection:
        # HTTP/2 costs memory that only a worker which speaks it pays.
        from proxy.upstream.multiplexed import ClientConnection

        connection = ClientConnection(
            stream, self._deadlines, self._side_tasks, self._http2, self
        )
        self._side_tasks.start_soon(FORWARD, connection.run)
        if self._is_closed:
            connection.retire()
        self._shared.add(connection)
        return connection

    async def open_stream(self, endpoint: Endpoint | None = None) -> Stream:
        """A new stream, in use until ``leave``. Raises UpstreamError.

        Without an ``endpoint`` it is for bytes that are no HTTP.
        """
        self.active += 1
        try:
            stream = await self._dial(endpoint or attrs.evolve(self.endpoint, alpn=()))
        except BaseException as error:
            self.active -= 1
            if isinstance(error, Exception):
                self.punish()
            raise
        self._penalty = 0.0
        self.opened += 1
        return stream

    # What a shared connection tells

    def release(self, connection: ClientConnection) -> None:
        """One exchange less is under way on it."""
        self.active -= 1
        self._shared.wake()

    def forget(self, connection: ClientConnection) -> None:
        """It takes no more exchanges."""
        self._shared.forget(connection)

    def has_room(self, connection: ClientConnection) -> None:
        """It may take more exchanges than before."""
        self._shared.wake()

    def leave(self) -> None:
        """A stream of ``open_stream`` is done with."""
        self.active -= 1

    def relieve(self) -> bool:
        """Close the oldest of what is unused; False when there is nothing."""
        count = min(RELIEF, len(self._idle))
        for _ in range(count):
            self.active += 1
            self._idle.popleft().close()
        return count > 0

    def close(self) -> None:
        """Close what is unused, and the rest when it comes back."""
        self._is_closed = True
        self._timer.close()
        while self._idle:
            self.active += 1
            self._idle.pop().close()
        self._shared.close()

    def _release(self, connection: UpstreamConnection, is_usable: bool) -> None:
        self.active -= 1
        if not is_usable:
            return
        if self._is_closed or len(self._idle) >= self._size:
            self.active += 1
            connection.close()
            return
        connection.idle_since = self._deadlines.clock()
        if not self._idle:
            self._timer.set(connection.idle_since + self._idle_limit)
        self._idle.append(connection)

    def _close_old(self) -> None:
        oldest = self._deadlines.clock() - self._idle_limit
        left = RELIEF
        while self._idle and left and self._idle[0].idle_since <= oldest:
            left -= 1
            self.active += 1
            self._idle.popleft().close()
        if self._idle:
            self._timer.set(self._idle[0].idle_since + self._idle_limit)

    def punish(self) -> None:
        """It took no connection: pass it over for a while, longer each time in a row."""
        self.failed += 1
        if self.is_down:
            return  # one outage, however many connections it refused at once
        self._penalty = min(LONGEST_PENALTY, self._penalty * 2 or PENALTY)
        self._down_until = self._deadlines.clock() + self._penalty

    def statistics(self) -> dict[str, object]:
        """For ``/stats``."""
        return {
            "endpoint": self.endpoint.address,
            "active": self.active,
            "idle": len(self._idle),
            "http2": self._shared.statistics(),
            "opened": self.opened,
            "reused": self.reused,
            "failed": self.failed,
            "down": self.is_down,
        }

    def __repr__(self) -> str:
        state = f"{self.active} active {len(self._idle)} idle"
        return f"<Pool {self.endpoint.service} {self.endpoint.address}: {state}>"
