"""A connection is used again only when both sides have nothing left to say on it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from meshfilters.errors import (
    AttemptTimeout,
    FilterFailed,
    MeshError,
    UpstreamProtocolError,
    UpstreamReset,
)
from meshfilters.exchange import Attempt, Endpoint, Limits
from meshfilters.message import Body, Buffered, Headers, Request, Response
from meshfilters.testing import Chunks, read
from proxy.upstream.connection import EARLY, UpstreamConnection
from proxy.upstream.pool import Pool
from tests.proxy.upstream.bench import PLAIN, Bench, heard, opened

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Asking:
    """One request under way, and how it came out."""

    def __init__(self, bench: Bench, pool: Pool) -> None:
        self.bench = bench
        self.pool = pool
        self.response: Response | None = None
        self.body = b""
        self.error: MeshError | None = None

    async def run(self, request: Request, connection: UpstreamConnection) -> None:
        self.attempt = self.bench.attempt(request)
        try:
            self.response = await connection.ask(request, self.attempt)
            if self.response.upgrade is None:
                self.body = await read(self.response.body)
        except MeshError as error:
            self.error = error


async def ask(bench: Bench, answer: bytes, request: Request, *, closes: bool) -> Asking:
    pool = bench.pool()
    asking = Asking(bench, pool)
    connection = await opened(pool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asking.run, request, connection)
        await heard(bench.peers[-1])
        if answer:
            await bench.peers[-1].send_soon(answer)
        if closes:
            await bench.peers[-1].send_eof()
    return asking


def state(asking: Asking) -> str:
    return repr(asking.pool).partition(": ")[2]


IDLE, CLOSED = "0 active 1 idle>", "0 active 0 idle>"


@pytest.mark.parametrize(
    ("answer", "closes", "body", "left"),
    [
        (OK, False, b"ok", IDLE),
        (b"HTTP/1.1 204 No\r\n\r\n", False, b"", IDLE),
        (OK + b"more", False, b"ok", CLOSED),
        (b"HTTP/1.1 204 No\r\n\r\nmore", False, b"", CLOSED),
        (OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), False, b"ok", CLOSED),
        (OK.replace(b"1.1", b"1.0"), False, b"ok", CLOSED),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", True, b"to the end", CLOSED),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            False,
            b"ok",
            IDLE,
        ),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, False, b"ok", IDLE),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, False, b"ok", IDLE),
    ],
)
async def test_a_response_is_read_and_the_connection_kept_where_it_can_be(
    bench: Bench, clock: object, answer: bytes, closes: bool, body: bytes, left: str
) -> None:
    asking = await ask(bench, answer, bench.request(), closes=closes)

    assert asking.error is None
    assert asking.body == body
    assert state(asking) == left


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", UpstreamReset),
        (b"HTTP/1.1 200", UpstreamReset),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", UpstreamReset),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no",
            UpstreamReset,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            UpstreamProtocolError,
        ),
        (b"SSH-2.0\r\n", UpstreamProtocolError),
        (
            b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            UpstreamProtocolError,
        ),
        (b"HTTP/1.1 102 P\r\n\r\n" * (EARLY + 1), UpstreamProtocolError),
    ],
)
async def test_what_is_no_whole_response_is_an_error_and_closes(
    bench: Bench, clock: object, answer: bytes, kind: type[MeshError]
) -> None:
    asking = await ask(bench, answer, bench.request(), closes=True)

    assert type(asking.error) is kind
    assert asking.error.sent
    assert not asking.error.reused
    assert state(asking) == CLOSED


async def test_trailers_of_a_body_that_is_here_are_sent(
    bench: Bench, clock: object
) -> None:
    body = Buffered(b"ok", Headers([(b"x-sum", b"6")]))
    pool = bench.pool()
    asking = Asking(bench, pool)
    connection = await opened(pool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asking.run, bench.request(b"POST", body), connection)
        received = b""
        while b"x-sum" not in received:
            received += await heard(bench.peers[-1])
        await bench.peers[-1].send_soon(OK)

    assert received.endswith(b"\r\n\r\n2\r\nok\r\n0\r\nx-sum: 6\r\n\r\n")
    assert asking.body == b"ok"


async def test_trailers_come_behind_the_body(bench: Bench, clock: object) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: 1\r\n\r\n"
    asking = await ask(bench, answer, bench.request(), closes=False)

    assert asking.response is not None
    assert asking.response.body.trailers.raw == [(b"A", b"1")]


async def test_informational_responses_are_told_of_but_continue(
    bench: Bench, clock: object
) -> None:
    told: list[int] = []

    async def tell(status: int, headers: Headers) -> None:
        told.append(status)

    request = bench.request()
    request.exchange.informational = tell
    early = b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\n\r\n"
    await ask(bench, early + OK, request, closes=False)

    assert told == [103]


async def test_a_tunnel_gives_what_came_early_first(
    bench: Bench, clock: object
) -> None:
    request = bench.request(b"GET", Buffered(b""), (b"Upgrade", b"websocket"))
    switched = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    asking = await ask(bench, switched + b"early", request, closes=False)

    assert asking.response is not None
    stream = asking.response.upgrade
    assert stream is not None
    assert await stream.peek(2) == b"ea"
    assert await stream.receive_some(2) == b"ea"
    assert await stream.receive_some() == b"rly"
    await bench.peers[0].send_soon(b"late")
    assert await stream.receive_some() == b"late"


@pytest.mark.parametrize("early", [b"", b"early"])
async def test_a_tunnel_is_in_use_to_its_exchanges_end(
    bench: Bench, clock: object, early: bytes
) -> None:
    granted = b"HTTP/1.1 200 OK\r\n\r\n" + early
    asking = await ask(bench, granted, bench.request(b"CONNECT"), closes=False)
    assert asking.response is not None
    assert asking.response.upgrade is not None
    assert asking.attempt.give_up is not None

    await asking.response.upgrade.aclose()

    assert state(asking) == "1 active 0 idle>"
    assert not asking.attempt.give_up()
    assert state(asking) == CLOSED


async def test_a_tunnel_that_nobody_takes_is_closed_with_its_exchange(
    bench: Bench, clock: object
) -> None:
    granted = b"HTTP/1.1 200 OK\r\n\r\n"
    asking = await ask(bench, granted, bench.request(b"CONNECT"), closes=False)
    assert asking.attempt.give_up is not None

    asking.attempt.give_up()

    with trio.fail_after(1):
        assert await bench.peers[0].receive_soon() == b""


@pytest.mark.parametrize(
    ("chunks", "length", "sent"),
    [
        ((b"ab", b"c"), 3, b"abc"),
        ((b"ab", b"c"), None, b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_is_sent_as_it_comes(
    bench: Bench,
    clock: object,
    chunks: tuple[bytes, ...],
    length: int | None,
    sent: bytes,
) -> None:
    pool = bench.pool()
    asking = Asking(bench, pool)
    connection = await opened(pool)
    request = bench.request(b"POST", Chunks(*chunks, length=length))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asking.run, request, connection)
        received = await heard(bench.peers[0], ending=sent)
        await trio.testing.wait_all_tasks_blocked()
        await bench.peers[0].send_soon(OK)

    assert received.endswith(b"\r\n\r\n" + sent)
    assert asking.body == b"ok"
    assert state(asking) == IDLE


@pytest.mark.parametrize("length", [2, 4])
async def test_a_body_of_another_length_than_told_desyncs_nobody(
    bench: Bench, clock: object, length: int
) -> None:
    request = bench.request(b"POST", Chunks(b"abc", length=length))
    asking = await ask(bench, b"", request, closes=False)

    assert asking.error is not None
    assert "than its length" in str(asking.error)
    assert state(asking) == CLOSED


class Endless:
    """A body that never ends, and may fail instead."""

    length = None
    trailers = Headers()

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.is_left = False

    async def receive(self) -> bytes:
        if self.error is not None:
            raise self.error
        try:
            await trio.sleep_forever()
        finally:
            self.is_left = True

    async def aclose(self) -> None: ...


async def test_an_early_response_stops_the_body_and_closes(
    bench: Bench, clock: object
) -> None:
    body = Endless()
    asking = await ask(bench, OK, bench.request(b"POST", body), closes=False)

    assert asking.body == b"ok"
    assert body.is_left
    assert state(asking) == CLOSED


@pytest.mark.parametrize(
    "error", [MeshError("no"), ValueError("no"), trio.ClosedResourceError()]
)
async def test_a_body_that_fails_closes_the_upstream(
    bench: Bench, clock: object, error: Exception
) -> None:
    body: Body = Endless(error)
    asking = await ask(bench, b"", bench.request(b"POST", body), closes=False)

    assert asking.error is not None
    assert state(asking) == CLOSED


@pytest.mark.parametrize(
    ("answer", "is_sent"),
    [(b"HTTP/1.1 100 Continue\r\n\r\n", True), (b"", True), (OK, False)],
)
async def test_a_body_that_is_held_back_is_sent_unless_it_is_declined(
    bench: Bench, clock: object, answer: bytes, is_sent: bool
) -> None:
    body = Chunks(b"abc", length=3)
    request = bench.request(b"POST", body, (b"Expect", b"100-continue"))
    pool = bench.pool()
    asking = Asking(bench, pool)
    connection = await opened(pool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asking.run, request, connection)
        await heard(bench.peers[0])
        assert body.received == 0
        await bench.peers[0].send_soon(answer)
        if is_sent:
            assert await bench.peers[0].receive_soon() == b"abc"
            await trio.testing.wait_all_tasks_blocked()
            await bench.peers[0].send_soon(OK)

    assert asking.body == b"ok"
    assert body.received == is_sent
    assert state(asking) == (IDLE if is_sent else CLOSED)


async def test_an_attempt_has_its_limit(bench: Bench, clock: object) -> None:
    asking = await ask(
        bench, b"", bench.request(limits=Limits(attempt=2)), closes=False
    )

    assert type(asking.error) is AttemptTimeout
    assert state(asking) == CLOSED


async def test_a_late_head_cancels_the_exchange(bench: Bench, clock: object) -> None:
    request = bench.request(limits=Limits(head=2, attempt=9))
    pool = bench.pool()
    connection = await opened(pool)
    with request.exchange._runtime.scope:  # type: ignore[attr-defined]  # the bench's
        await connection.ask(request, bench.attempt(request))

    assert request.exchange.reason is not None
    assert request.exchange.reason.reason == "timeout"
    assert repr(connection) == "<UpstreamConnection closed>"


async def test_a_reused_connection_that_ends_untouched_says_so(
    bench: Bench, clock: object
) -> None:
    asking = await ask(bench, OK, bench.request(), closes=False)
    for early, is_reused in ((b"", True), (b"HTTP/1.1 103 E\r\n\r\n", False)):
        connection = asking.pool.take(PLAIN) or await asking.pool.open(PLAIN)
        assert isinstance(connection, UpstreamConnection)
        connection._has_served = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asking.run, bench.request(), connection)
            await heard(bench.peers[-1])
            await bench.peers[-1].send_soon(early)
            bench.peers[-1].close()
        assert asking.error is not None
        assert asking.error.reused == is_reused


async def test_a_bad_request_of_a_filters_is_not_sent(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool()
    connection = await opened(pool)
    request = bench.request(b"GET", Buffered(b""), (b"X", b"a\r\nb"))

    with pytest.raises(MeshError, match="bad request"):
        await connection.ask(request, bench.attempt(request))
    assert repr(pool).endswith(CLOSED)


async def test_an_upstream_that_takes_nothing_has_its_limit_too(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool()
    connection = await opened(pool)
    body = Buffered(bytes(8_000_000))
    request = bench.request(b"PUT", body, limits=Limits(attempt=2))

    with pytest.raises(AttemptTimeout):
        await connection.ask(request, bench.attempt(request))
    assert repr(pool).endswith(CLOSED)


async def test_nothing_was_sent_to_an_upstream_that_had_gone(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool()
    connection = await opened(pool)
    assert repr(connection) == "<UpstreamConnection idle>"
    assert connection.identity is None
    bench.peers[0].close()
    request = bench.request()

    with pytest.raises(UpstreamReset) as caught:
        await connection.ask(request, bench.attempt(request))
    assert not caught.value.sent
    assert not connection.is_usable


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", CLOSED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", CLOSED),
        (OK, IDLE),
    ],
)
async def test_a_body_nobody_wants_closes_unless_it_is_here(
    bench: Bench, clock: object, answer: bytes, left: str
) -> None:
    pool = bench.pool()
    connection = await opened(pool)
    request = bench.request()
    await bench.peers[0].send_soon(answer)

    response = await connection.ask(request, bench.attempt(request))
    await response.body.aclose()
    await response.body.aclose()

    assert repr(pool).endswith(left)
    assert response.body.length in (None, 9, 2)


async def test_a_tunnel_cannot_be_peeked_past_what_came_early(
    bench: Bench, clock: object
) -> None:
    early = b"HTTP/1.1 200 OK\r\n\r\nab"
    asking = await ask(bench, early, bench.request(b"CONNECT"), closes=False)
    assert asking.response is not None
    assert asking.response.upgrade is not None

    with pytest.raises(trio.BrokenResourceError, match="past what came early"):
        await asking.response.upgrade.peek(9, at_least=3)


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        (Endpoint("api", "192.0.2.1:80"), b"192.0.2.1:80"),
        (Endpoint("api", "[2001:db8::1]:80", "api.test"), b"api.test:80"),
        (Endpoint("api", "unix:/run/api.sock"), b"localhost"),
    ],
)
async def test_a_request_without_host_is_given_its_endpoints(
    endpoint: Endpoint, host: bytes, bench: Bench
) -> None:
    connection = await opened(bench.pool())
    request = bench.request()
    request.headers.remove(b"host")
    attempt = Attempt(1, endpoint, 0, request.headers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.ask, request, attempt)
        sent = await heard(bench.peers[0])
        await bench.peers[0].send_soon(OK)

    assert sent == b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    assert b"host" not in request.headers, "the filters' request is as it was"


async def test_what_a_filter_spoiled_is_named(bench: Bench) -> None:
    connection = await opened(bench.pool())
    request = bench.request()
    spoiled: Any = (b"X-User", "text")  # a filter's bug
    fields = [*request.headers, spoiled]
    request.headers = Headers(fields)

    with pytest.raises(FilterFailed, match=r"X-User.*'text' is not bytes"):
        await connection.ask(request, bench.attempt(request))


async def test_a_response_nobody_closed_is_given_up_once(bench: Bench) -> None:
    pool = bench.pool()
    connection, request = await opened(pool), bench.request()
    attempt = bench.attempt(request)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.ask, request, attempt)
        await heard(bench.peers[0])
        await bench.peers[0].send_soon(
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
        )

    assert attempt.ended is None
    assert attempt.give_up is not None
    assert attempt.give_up()
    assert not attempt.give_up()
    assert repr(pool).endswith("0 active 0 idle>")
    assert attempt.ended is not None
