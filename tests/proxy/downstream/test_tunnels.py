"""A tunnel through the whole proxy: WebSocket and CONNECT, from and to either HTTP.

What a client sends for its tunnel waits until the upstream has granted it: a byte that
came before would be a request of its own to an upstream that refuses (request smuggling).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.errors import Draining
from proxy.codec import h2
from proxy.config.model import Http as HttpLimits
from proxy.config.model import ServiceProtocol
from proxy.downstream.multiplexed import MOMENT
from proxy.upstream.forward import Forward
from tests.proxy.downstream.http2_served import Answer, Http2Client, http2_served
from tests.proxy.downstream.served import GET, Client, Served
from tests.proxy.upstream.bench import upstream
from tests.proxy.upstream.http2_bench import Http2Bench, http2_bench

Fields = list[tuple[bytes, bytes]]

SOCKETS = h2.Settings(allows_connect_protocol=True)
HEADS = {
    "websocket": b"GET / HTTP/1.1\r\nHost: app\r\nConnection: upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "connect": b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n",
}
FIELDS: dict[str, Fields] = {
    "websocket": [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"http"),
        (b":authority", b"app"),
        (b":path", b"/"),
    ],
    "connect": [(b":method", b"CONNECT"), (b":authority", b"db:5432")],
}
GRANTS = {
    "websocket": b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
    "connect": b"HTTP/1.1 200 OK\r\n",
}
REFUSAL = b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"

both = pytest.mark.parametrize("kind", ["websocket", "connect"])
from_either = pytest.mark.parametrize("near", ["http1", "http2"])
to_either = pytest.mark.parametrize("far", ["http1", "http2"])


class Http1Near:
    """A client of HTTP/1.1."""

    def __init__(self, served: Served) -> None:
        scope = trio.CancelScope()
        self.cut = scope.cancel
        """Do as a worker whose grace is over."""
        self._client = client = served.connect_socket(scope)
        self.send = client.send

    async def ask(self, kind: str, early: bytes = b"") -> None:
        await self.send(HEADS[kind] + early)

    async def end(self) -> None:
        await self._client.stream.send_eof()
        await wait_all_tasks_blocked()

    @property
    def head(self) -> bytes:
        """Of what it was answered, in lower case."""
        return self._client.received.partition(b"\r\n\r\n")[0].lower()

    @property
    def status(self) -> int | None:
        return int(self.head.split()[1]) if self.head else None

    @property
    def data(self) -> bytes:
        return self._client.received.partition(b"\r\n\r\n")[2]

    @property
    def has_ended(self) -> bool:
        return self._client.has_ended()


class Http2Near:
    """A client of HTTP/2, and one stream of it."""

    def __init__(self, client: Http2Client) -> None:
        self.client = client
        self.cut = client.session.cancel
        self._stream = 0

    async def ask(self, kind: str, early: bytes = b"") -> None:
        self._stream = self.client.codec.open(FIELDS[kind], is_end=False)
        self.client.answers[self._stream] = Answer()
        await self.send(early)

    async def send(self, data: bytes) -> None:
        if data:
            self.client.codec.send(self._stream, data, is_end=False)
        await self.client.turn()

    async def end(self) -> None:
        self.client.codec.send(self._stream, b"", is_end=True)
        await self.client.turn()

    @property
    def _answer(self) -> Answer:
        return self.client.answers[self._stream]

    @property
    def head(self) -> bytes:
        return b"\r\n".join(b": ".join(field) for field in self._answer.fields)

    @property
    def status(self) -> int | None:
        return self._answer.status

    @property
    def data(self) -> bytes:
        return self._answer.data

    @property
    def has_ended(self) -> bool:
        return self._answer.is_ended


class Http1Far:
    """An endpoint of HTTP/1.1, and the only connection it has."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.send = client.send

    async def grant(self, kind: str, *fields: bytes) -> None:
        more = b"".join(field + b"\r\n" for field in fields)
        await self.send(GRANTS[kind] + more + b"\r\n")

    async def refuse(self) -> None:
        await self.send(REFUSAL)

    async def end(self) -> None:
        await self._client.stream.send_eof()
        await wait_all_tasks_blocked()

    @property
    def head(self) -> bytes:
        return self._client.received.partition(b"\r\n\r\n")[0].lower()

    @property
    def data(self) -> bytes:
        """What came behind the head."""
        return self._client.received.partition(b"\r\n\r\n")[2]


class Http2Far:
    """An endpoint of HTTP/2, and the only stream it has."""

    def __init__(self, bench: Http2Bench) -> None:
        self._bench = bench

    async def grant(self, kind: str, *fields: bytes) -> None:
        told = [(b":status", b"200")]
        for field in fields:
            name, _, value = field.lower().partition(b": ")
            told.append((name, value))
        self._bench.peer.codec.respond(1, told, is_end=False)
        await self._bench.peer.turn()

    async def refuse(self) -> None:
        await self._bench.peer.answer(1, b"403", b"no")

    async def send(self, data: bytes) -> None:
        self._bench.peer.codec.send(1, data, is_end=False)
        await self._bench.peer.turn()

    async def end(self) -> None:
        self._bench.peer.codec.send(1, b"", is_end=True)
        await self._bench.peer.turn()

    @property
    def head(self) -> bytes:
        fields = self._bench.asked().fields
        return b"\r\n".join(b": ".join(field) for field in fields).lower()

    @property
    def data(self) -> bytes:
        return self._bench.asked().data


@attrs.frozen
class Place:
    """A client, the proxy, and an endpoint that does what the test says."""

    served: Served
    near: Http1Near | Http2Near
    bench: Http2Bench
    nursery: trio.Nursery

    def far(self) -> Http1Far | Http2Far:
        """The endpoint, that was asked by now."""
        if self.bench.peers.is_serving:
            return Http2Far(self.bench)
        client = Client(self.bench.bench.peers[0])
        self.nursery.start_soon(partial(client.run, reads=True))
        return Http1Far(client)


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@asynccontextmanager
async def proxied(
    near: str,
    far: ServiceProtocol = "http1",
    *,
    connect: bool = True,
) -> AsyncIterator[Place]:
    limits = HttpLimits(connect=connect)
    async with (
        upstream() as dialled,
        http2_bench(dialled, protocol=far, settings=SOCKETS) as bench,
        http2_served(
            Forward({"app": bench.service}, trio.current_time),
            limits=limits,
            sockets=True,
        ) as (served, client),
        trio.open_nursery() as nursery,
    ):
        bench.peers.is_serving = far == "http2"
        end: Http1Near | Http2Near = Http2Near(client)
        if near == "http1":
            end = Http1Near(served)
        yield Place(served, end, bench, nursery)
        nursery.cancel_scope.cancel()


@from_either
@to_either
@both
async def test_nothing_follows_before_it_is_granted(
    clock: MockClock, near: str, far: ServiceProtocol, kind: str
) -> None:
    async with proxied(near, far) as place:
        client = place.near
        await client.ask(kind, b"early")
        endpoint = place.far()
        await wait_all_tasks_blocked()
        assert endpoint.head
        assert endpoint.data == b""
        await client.send(b" and earlier than that")
        assert endpoint.data == b""

        await endpoint.grant(kind)
        assert endpoint.data == b"early and earlier than that"
        await client.send(b", late")
        await endpoint.send(b"back")
        assert endpoint.data == b"early and earlier than that, late"
        assert client.data == b"back"
        assert place.served.outcomes == []
        await client.end()
        await endpoint.end()

        [outcome] = place.served.outcomes
        assert (outcome.received, outcome.sent) == (33, 4)
        assert outcome.status == client.status
        assert outcome.is_success
        assert client.has_ended
        assert place.bench.pool.active == 0
        assert place.served.failures() == []


@from_either
@to_either
@both
@pytest.mark.parametrize("with_head", [True, False])
async def test_what_came_before_a_refusal_reaches_nobody(
    clock: MockClock, near: str, far: ServiceProtocol, kind: str, with_head: bool
) -> None:
    async with proxied(near, far) as place:
        client = place.near
        await client.ask(kind, GET if with_head else b"")
        endpoint = place.far()
        await wait_all_tasks_blocked()
        if not with_head:
            await client.send(GET)

        await endpoint.refuse()

        assert (client.status, client.data) == (403, b"no")
        assert endpoint.data == b""
        assert client.has_ended
        assert [each.status for each in place.served.outcomes] == [403]


@from_either
@pytest.mark.parametrize(
    ("far", "told"),
    [
        ("http1", b"Content-Length: 50"),
        ("http1", b"Transfer-Encoding: chunked"),
        ("http2", b"Content-Length: 50"),
    ],
)
async def test_a_grant_of_connect_is_sent_on_without_a_length(
    clock: MockClock, near: str, far: ServiceProtocol, told: bytes
) -> None:
    async with proxied(near, far) as place:
        await place.near.ask("connect")
        endpoint = place.far()
        await endpoint.grant("connect", told, b"X-Proxy: yes")
        await endpoint.send(b"no such length")

        assert place.near.status == 200
        assert b"x-proxy: yes" in place.near.head
        assert told.partition(b":")[0].lower() not in place.near.head
        assert place.near.data == b"no such length"


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"db", b"db"),
        (b"db:", b"db"),
        (b":5432", b""),
        (b"db:x", b"db"),
        (b"me@db:5432", b"db:5432"),
        (b"/", b"db:5432"),
        (b"http://db:5432/", b"db:5432"),
        (b"db:5432", b"db:5433"),
    ],
)
async def test_a_target_that_is_none_is_400(
    clock: MockClock, target: bytes, host: bytes
) -> None:
    async with proxied("http1") as place:
        await place.near.send(
            b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host)
        )

        assert place.near.status == 400
        assert place.near.has_ended
        assert place.bench.bench.peers == []


@pytest.mark.parametrize("target", [b"db", b"db:", b":5432", b"db:x", b"me@db:5432"])
async def test_a_target_that_is_none_is_no_request_of_http2(
    clock: MockClock, target: bytes
) -> None:
    async with proxied("http2") as place:
        assert isinstance(place.near, Http2Near)
        fields = [(b":method", b"CONNECT"), (b":authority", target)]
        answer = await place.near.client.ask(fields, is_end=False)

        assert answer.code == h2.PROTOCOL_ERROR
        assert place.bench.bench.peers == []


@from_either
async def test_connect_is_405_where_it_is_off(clock: MockClock, near: str) -> None:
    async with proxied(near, connect=False) as place:
        await place.near.ask("connect", GET)

        assert place.near.status == 405
        assert place.near.has_ended
        assert place.bench.bench.peers == []


@from_either
@to_either
@both
@pytest.mark.parametrize("first", ["client", "endpoint"])
async def test_a_drain_lets_a_tunnel_go_on_until_a_side_ends_it(
    clock: MockClock, near: str, far: ServiceProtocol, kind: str, first: str
) -> None:
    async with proxied(near, far) as place:
        client = place.near
        await client.ask(kind)
        endpoint = place.far()
        await endpoint.grant(kind)

        place.served.http.drain()
        clock.jump(2 * MOMENT)
        await client.send(b"still")
        await endpoint.send(b"there")

        assert (endpoint.data, client.data) == (b"still", b"there")
        if isinstance(client, Http2Near):
            assert client.client.goaways == [(2**31 - 1, 0), (1, 0)]
            assert not client.client.session.is_over
        ends = [client.end, endpoint.end]
        for end in ends if first == "client" else reversed(ends):
            assert place.served.outcomes == []
            await end()
        assert [each.error for each in place.served.outcomes] == [None]
        assert not any(each.is_busy for each in place.served.http.sessions)
        if isinstance(client, Http2Near):
            assert client.client.session.is_over


@from_either
@to_either
@both
async def test_a_tunnel_that_outlives_the_grace_is_cut(
    clock: MockClock, near: str, far: ServiceProtocol, kind: str
) -> None:
    async with proxied(near, far) as place:
        await place.near.ask(kind)
        endpoint = place.far()
        await endpoint.grant(kind)
        await place.near.send(b"still")

        place.near.cut()
        await wait_all_tasks_blocked()

        [outcome] = place.served.outcomes
        assert type(outcome.error) is Draining
        assert (outcome.status, outcome.is_success) == (place.near.status, False)
        assert (outcome.received, outcome.sent) == (5, 0)
        assert place.bench.pool.active == 0
        assert place.served.failures() == []
