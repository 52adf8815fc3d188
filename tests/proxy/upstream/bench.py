"""A worker's upstream half in a test: a pool whose endpoint the test plays itself."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio
import trio.testing

from meshfilters.counters import Metrics
from meshfilters.exchange import Attempt, Connection, Endpoint, Exchange, Limits
from meshfilters.memory import stream_pair
from meshfilters.message import EMPTY, Body, Headers, Request
from meshfilters.stream import Stream, Tls
from proxy.chain.pipeline import Blame
from proxy.chain.side_tasks import SideTasks
from proxy.config.model import Http2, ServiceProtocol
from proxy.transport.deadlines import Deadlines
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream
from proxy.transport.tuning import tune
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.pool import Pool

ENDPOINT = Endpoint("api", "198.51.100.1:80")


@attrs.define(eq=False)
class Runtime:
    """Cancels an exchange's scope, as its session does."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def cancel(self, exchange: Exchange) -> None:
        self.scope.cancel()

    def rearm(self, exchange: Exchange) -> None: ...

    def start_soon(self, exchange: Exchange, task: object) -> None: ...

    def blame(self, owner: str, error: Exception) -> None: ...


class Bench:
    """Streams are socket pairs; the far ends wait in ``peers``."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.readiness = Readiness()
        self.deadlines = Deadlines(trio.current_time)
        self.metrics = Metrics()
        self.side_tasks = SideTasks(nursery, Blame(self.metrics))
        self.peers: list[SocketStream] = []
        self.made: list[SocketStream] = []
        self.refusals: list[Exception] = []
        """What the next dials raise."""
        self.dialled = trio.Event()
        self.endpoints: list[Endpoint] = []
        """What was dialled."""
        self.tls: Tls | None = None
        """What the next streams say of their TLS."""

    async def dial(self, endpoint: Endpoint) -> Stream:
        await trio.lowlevel.checkpoint()
        if self.refusals:
            raise self.refusals.pop(0)
        near, far = (self._wrap(each) for each in socket.socketpair())
        near.tls = self.tls
        self.endpoints.append(endpoint)
        self.peers.append(far)
        self.dialled.set()
        return near

    def _wrap(self, sock: socket.socket) -> SocketStream:
        tune(sock)
        stream = SocketStream(sock, self.readiness)
        self.made.append(stream)
        return stream

    def pool(
        self,
        size: int = 2,
        idle: float = 3.0,
        protocol: ServiceProtocol = "auto",
        http2: Http2 | None = None,
    ) -> Pool:
        return Pool(
            ENDPOINT,
            self.dial,
            self.deadlines,
            self.side_tasks,
            size=size,
            idle=idle,
            protocol=protocol,
            http2=http2,
        )

    def request(
        self,
        method: bytes = b"GET",
        body: Body = EMPTY,
        *fields: tuple[bytes, bytes],
        limits: Limits | None = None,
    ) -> Request:
        connection = Connection(stream_pair()[0], "192.0.2.1:1", "web", "inbound")
        now = trio.current_time()
        exchange = Exchange(connection, now, limits or Limits(), Runtime())
        headers = Headers([(b"Host", b"api.test"), *fields])
        return Request(method, b"/", headers, "api", exchange, body)

    def attempt(self, request: Request) -> Attempt:
        return Attempt(1, ENDPOINT, trio.current_time(), request.headers)


def plain(version: str = "1.1", *fields: tuple[bytes, bytes]) -> Request:
    """A request that has no exchange to speak of: for what a pool has to know of it."""
    connection = Connection(stream_pair()[0], "192.0.2.1:1", "web", "inbound")
    exchange = Exchange(connection, 0.0, Limits(), Runtime())
    exchange.version = version
    return Request(b"GET", b"/", Headers(fields), "api", exchange)


PLAIN = plain()


async def opened(pool: Pool) -> UpstreamConnection:
    """A new HTTP/1.1 connection of a pool's."""
    connection = await pool.open(PLAIN)
    assert isinstance(connection, UpstreamConnection)
    return connection


async def unused(pool: Pool) -> UpstreamConnection:
    """A connection that is back in its pool, as behind a response."""
    connection = await opened(pool)
    connection.stream.watch.readable = False  # type: ignore[attr-defined]
    pool._release(connection, True)
    return connection


@asynccontextmanager
async def upstream() -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        bench = Bench(nursery)
        nursery.start_soon(bench.readiness.run)
        nursery.start_soon(bench.deadlines.run)
        yield bench
        for each in bench.made:
            each.close()
        nursery.cancel_scope.cancel()
    bench.readiness.close()


async def heard(peer: SocketStream, *, ending: bytes = b"\r\n\r\n") -> bytes:
    """What the peer received, up to ``ending``."""
    received = b""
    while not received.endswith(ending):
        data = await peer.receive_soon()
        if not data:
            break
        received += data
    return received
