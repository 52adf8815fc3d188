"""One HTTP/1.1 connection in, many requests out: order, limits, and every ending."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.api import Service
from meshfilters.errors import (
    BadRequest,
    ClientGone,
    DeadlineExceeded,
    Draining,
    FilterFailed,
    Overloaded,
    Refused,
    UpstreamReset,
)
from meshfilters.exchange import Attempt, Connection, Endpoint, Outcome
from meshfilters.memory import MemoryStream, stream_pair
from meshfilters.message import Buffered, Headers, Request, Response
from meshfilters.testing import Chunks, read
from proxy.config.model import Http as HttpLimits
from proxy.downstream.serving import FAREWELL
from proxy.downstream.session import MOMENT, TURN, Session
from tests.proxy.downstream.served import (
    GET,
    GET10,
    OK,
    OK_CLOSE,
    Served,
    ok,
    post,
)


@pytest.fixture(autouse=True)
def clock(mock_clock: MockClock) -> MockClock:
    return mock_clock


async def later(clock: MockClock, seconds: float) -> None:
    """Let time pass, and all that is due happen."""
    await wait_all_tasks_blocked()
    clock.jump(seconds + 0.02)
    await wait_all_tasks_blocked()


async def answer(request: Request, /) -> Response:
    return ok()


async def echo(request: Request, /) -> Response:
    return Response(200, body=Buffered(await read(request.body)))


async def never(request: Request, /) -> Response:
    await trio.sleep_forever()
    raise AssertionError


class Held:
    """A service that answers when the test says so."""

    def __init__(self, response: Response | None = None) -> None:
        self.requests: list[Request] = []
        self.go = trio.Event()
        self._response = response

    async def __call__(self, request: Request, /) -> Response:
        self.requests.append(request)
        await self.go.wait()
        return self._response or ok()

    async def release(self) -> None:
        self.go.set()
        await wait_all_tasks_blocked()


class Failing:
    """A body that gives some bytes and then what is wrong."""

    def __init__(self, error: Exception, length: int | None = None) -> None:
        self.length = length
        self.trailers = Headers()
        self.is_closed = False
        self._error = error
        self._chunks = [b"some"]

    async def receive(self) -> bytes:
        if self._chunks:
            return self._chunks.pop()
        raise self._error

    async def aclose(self) -> None:
        self.is_closed = True


# Many requests on one connection


async def test_a_connection_serves_one_request_after_the_other(
    nursery: trio.Nursery,
) -> None:
    served = Served(nursery, answer)
    client = served.connect()

    assert await client.ask(GET) == OK
    assert await client.ask(GET) == OK
    assert not client.has_ended()
    assert [outcome.status for outcome in served.outcomes] == [200, 200]


async def test_pipelined_requests_are_answered_in_order(nursery: trio.Nursery) -> None:
    async def name(request: Request, /) -> Response:
        return Response(200, body=Buffered(request.target))

    client = Served(nursery, name).connect()
    asked = [b"/%d" % number for number in range(3 * TURN)]

    await client.send(b"".join(GET.replace(b"/ ", path + b" ") for path in asked))

    bodies = client.received.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [body.rpartition(b"\r\n\r\n")[2] for body in bodies] == asked


class Ready(MemoryStream):
    """A stream on which more has always come."""

    pieces: list[bytes]

    async def receive_soon(self) -> bytes:
        return self.pieces.pop() if self.pieces else b""

    async def send_later(self, data: bytes) -> None:
        pass


async def test_long_heads_leave_the_others_their_turn(nursery: trio.Nursery) -> None:
    turns: list[int] = []
    served = Served(nursery, answer)

    async def other() -> None:
        while len(served.outcomes) < TURN:
            turns.append(len(served.outcomes))
            await trio.lowlevel.checkpoint()

    ours, _ = stream_pair()
    stream = Ready(ours._sender, ours._receiver)
    head = GET.removesuffix(b"\r\n") + b"X: " + b"x" * 50_000 + b"\r\n\r\n"
    stream.pieces = [head] * TURN
    connection = Connection(stream, "192.0.2.1:1234", "web", "inbound")
    session = Session(served.http, connection)
    nursery.start_soon(session.run)
    await other()

    assert max(later - turn for turn, later in pairwise(turns)) <= TURN // 2


async def test_a_pipelined_request_waits_for_the_one_before(
    nursery: trio.Nursery,
) -> None:
    held = Held()
    client = Served(nursery, held).connect()

    await client.send(GET * 2)

    assert len(held.requests) == 1
    await held.release()
    assert client.received == OK * 2


async def test_a_client_is_not_read_while_its_request_is_under_way(
    nursery: trio.Nursery,
) -> None:
    held = Held()
    client = Served(nursery, held).connect_socket()
    await client.send(GET)

    with trio.move_on_after(0) as full:
        await client.stream.send_all(b"x" * 8_000_000)

    assert full.cancelled_caught
    assert len(held.requests) == 1


async def test_a_head_that_comes_byte_by_byte_is_one_request(
    nursery: trio.Nursery,
) -> None:
    client = Served(nursery, answer).connect()

    for byte in GET[:-1]:
        await client.send(bytes([byte]))

    assert client.received == b""
    assert await client.ask(GET[-1:]) == OK


async def test_http10_closes_behind_its_response(nursery: trio.Nursery) -> None:
    client = Served(nursery, answer).connect()

    assert await client.ask(GET10) == OK_CLOSE
    assert client.has_ended()


async def test_http10_that_asks_for_it_is_kept_alive(nursery: trio.Nursery) -> None:
    client = Served(nursery, answer).connect()
    asked = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"

    first, second = await client.ask(asked), await client.ask(asked)

    assert b"\r\nConnection: keep-alive\r\n" in first
    assert first == second


async def test_a_client_that_says_close_gets_its_answer_and_the_end(
    nursery: trio.Nursery,
) -> None:
    client = Served(nursery, answer).connect()

    await client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + GET)

    assert client.received == OK_CLOSE
    assert client.has_ended()


async def test_a_client_that_leaves_between_requests_ends_nothing(
    nursery: trio.Nursery,
) -> None:
    served = Served(nursery, answer)
    client = served.connect()
    await client.send(GET)

    await client.stream.aclose()
    await wait_all_tasks_blocked()

    assert [outcome.error for outcome in served.outcomes] == [None]
    assert not served.http.sessions


# What is refused


async def test_broken_bytes_are_answered_and_closed(nursery: trio.Nursery) -> None:
    served = Served(nursery, answer)
    client = served.connect()

    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + GET)

    assert client.received.startswith(b"HTTP/1.1 400 ")
    assert client.received.count(b"HTTP/1.1 ") == 1
    assert client.has_ended()
    assert served.refusals == [400]


async def test_a_refused_head_request_gets_no_body(nursery: trio.Nursery) -> None:
    client = Served(nursery, answer).connect()

    await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")

    assert client.received.startswith(b"HTTP/1.1 400 ")
    assert client.received.endswith(b"\r\n\r\n")


async def test_a_host_without_a_service_is_404_and_goes_on(
    nursery: trio.Nursery,
) -> None:
    client = Served(nursery, answer).connect()

    first = await client.ask(GET.replace(b"Host: a", b"Host: nowhere"))

    assert first.startswith(b"HTTP/1.1 404 ")
    assert b"tulle-error: no route; by=proxy\r\n" in first
    assert await client.ask(GET) == OK


async def test_connect_is_refused_unless_it_is_on(nursery: trio.Nursery) -> None:
    client = Served(nursery, answer).connect()

    await client.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n" + GET)

    assert client.received.startswith(b"HTTP/1.1 405 ")
    assert client.received.count(b"HTTP/1.1 ") == 1
    assert client.has_ended()


async def test_a_body_announced_over_the_limit_is_not_waited_for(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    client = Served(nursery, echo, limits=HttpLimits(max_body=3)).connect()

    await client.send(post(4))

    assert client.received.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in client.received


async def test_a_chunked_body_over_the_limit_is_413(nursery: trio.Nursery) -> None:
    served = Served(nursery, echo, limits=HttpLimits(max_body=3))
    client = served.connect()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    await client.send(head + b"4\r\nabcd\r\n")

    assert client.received.startswith(b"HTTP/1.1 413 ")
    assert served.error() is BadRequest


async def test_a_body_of_the_limit_passes(nursery: trio.Nursery) -> None:
    client = Served(nursery, echo, limits=HttpLimits(max_body=3)).connect()

    assert (await client.ask(post(3) + b"abc")).endswith(b"\r\n\r\nabc")


# Bodies


async def test_a_body_that_comes_in_pieces_is_streamed(nursery: trio.Nursery) -> None:
    pieces = []

    async def keep(request: Request, /) -> Response:
        while piece := await request.body.receive():
            pieces.append(piece)
        return ok()

    served = Served(nursery, keep)
    client = served.connect()

    await client.send(post(6) + b"ab")
    await client.send(b"cd")
    assert pieces == [b"ab", b"cd"]

    assert await client.ask(b"ef") == OK
    assert served.outcomes[0].received == 6


async def test_continue_is_sent_when_the_body_is_asked_for(
    nursery: trio.Nursery,
) -> None:
    held = Held()

    async def late(request: Request, /) -> Response:
        await held(request)
        return await echo(request)

    client = Served(nursery, late).connect()
    await client.send(post(2, b"Expect: 100-continue"))
    assert client.received == b""

    await held.release()
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await client.ask(b"hi")).endswith(b"\r\n\r\nhi")


async def test_a_body_held_back_and_not_wanted_closes_the_connection(
    nursery: trio.Nursery,
) -> None:
    client = Served(nursery, answer).connect()

    await client.send(post(2, b"Expect: 100-continue"))

    assert client.received == OK_CLOSE
    assert client.has_ended()


async def test_an_unread_body_that_is_here_is_dropped_and_the_next_served(
    nursery: trio.Nursery,
) -> None:
    client = Served(nursery, answer).connect()

    await client.send(post(3) + b"abc" + GET)

    assert client.received == OK * 2


async def test_a_response_before_the_body_is_here_is_lingered_over(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    served = Served(nursery, answer)
    client = served.connect()

    await client.send(post(10) + b"ab")

    assert client.received.endswith(b"ok")
    assert client.has_ended()
    assert served.http.sessions
    await client.send(b"cd")
    await later(clock, 2)
    assert not served.http.sessions


async def test_a_client_that_leaves_with_its_answer_was_served(
    nursery: trio.Nursery,
) -> None:
    served = Served(nursery, answer)
    client = served.connect_socket()
    await client.send(post(10) + b"ab")

    await client.stream.aclose()
    await wait_all_tasks_blocked()

    assert [outcome.error for outcome in served.outcomes] == [None]
    assert not served.http.sessions


async def test_a_body_whose_client_leaves_is_no_request(nursery: trio.Nursery) -> None:
    served = Served(nursery, echo)
    client = served.connect()
    await client.send(post(10) + b"ab")

    await client.stream.aclose()
    await wait_all_tasks_blocked()

    assert served.error() is ClientGone
    assert served.outcomes[0].status is None
    assert served.outcomes[0].received == 2


@pytest.mark.parametrize("has_seen_it", [False, True])
async def test_a_client_that_has_closed_its_side_has_gone(
    has_seen_it: bool, nursery: trio.Nursery
) -> None:
    served = Served(nursery, never)
    client = served.connect_socket()
    if not has_seen_it:
        await wait_all_tasks_blocked()

    await client.stream.send_all(GET)
    await client.stream.send_eof()
    with trio.fail_after(5):
        while not served.outcomes:
            await trio.lowlevel.checkpoint()

    assert served.error() is ClientGone


async def test_a_response_that_a_filter_dropped_is_given_up_at_the_end(
    nursery: trio.Nursery,
) -> None:
    given_up: list[int] = []

    def give_up() -> bool:
        given_up.append(1)
        return True

    async def drop(request: Request, /) -> Response:
        endpoint = Endpoint("app", "192.0.2.9:80")
        for ended in (5.0, None):
            attempt = Attempt(1, endpoint, 0, request.headers, give_up=give_up)
            attempt.ended = ended
            request.exchange.begin(attempt)
        raise Refused("seen enough")

    served = Served(nursery, drop)

    assert (await served.connect().ask(GET)).startswith(b"HTTP/1.1 403")
    assert len(given_up) == 1, "the one that had not ended"
    [(key, count)] = served.failures()
    assert key == ("one of the chain", "FilterFailed")
    assert count == 1


async def test_a_response_that_cannot_be_written_is_logged(
    nursery: trio.Nursery,
) -> None:
    async def shy(request: Request, /) -> Response:
        return Response(200, Headers([(b"X-A", b"a\r\nX-B: b")]))

    served = Served(nursery, shy)

    answered = await served.connect().ask(GET)

    assert answered.startswith(b"HTTP/1.1 500")
    assert b"header field b'X-A' has bytes it may not have" in answered
    assert [key for key, _ in served.failures()] == [
        ("one of the chain", "FilterFailed")
    ]


async def test_a_streamed_body_of_unknown_length_is_chunked_with_its_trailers(
    nursery: trio.Nursery,
) -> None:
    body = Chunks(b"ab", b"c", trailers=[(b"grpc-status", b"7")])

    async def stream(request: Request, /) -> Response:
        return Response(200, body=body)

    served = Served(nursery, stream)
    client = served.connect()

    await client.send(GET)

    assert client.received.endswith(
        b"\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\ngrpc-status: 7\r\n\r\n"
    )
    assert served.outcomes[0].grpc_status == 7
    assert served.outcomes[0].sent == 3
    assert not served.outcomes[0].is_success


async def test_an_answer_to_head_ends_with_its_head(nursery: trio.Nursery) -> None:
    body = Chunks(b"ab", length=2)

    async def stream(request: Request, /) -> Response:
        return Response(200, Headers([(b"Content-Length", b"2")]), body)

    client = Served(nursery, stream).connect()

    first = await client.ask(GET.replace(b"GET", b"HEAD"))

    assert first == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert body.is_closed


@pytest.mark.parametrize("length", [3, 5], ids=["longer", "shorter"])
async def test_a_body_unlike_its_length_is_cut(
    nursery: trio.Nursery, length: int
) -> None:
    async def stream(request: Request, /) -> Response:
        return Response(200, body=Chunks(b"ab", b"cd", length=length))

    served = Served(nursery, stream)
    client = served.connect()

    await client.send(GET)

    body = client.received.rpartition(b"\r\n\r\n")[2]
    assert len(body) < length
    assert client.has_ended()
    assert served.error() is FilterFailed


async def test_a_body_that_fails_behind_the_head_is_cut(nursery: trio.Nursery) -> None:
    body = Failing(UpstreamReset("gone"))

    async def stream(request: Request, /) -> Response:
        return Response(200, body=body)

    served = Served(nursery, stream)
    client = served.connect()

    await client.send(GET + GET)

    assert client.received.endswith(b"\r\n\r\n4\r\nsome\r\n")
    assert client.has_ended()
    assert body.is_closed
    assert served.error() is UpstreamReset
    assert served.outcomes[0].status == 200


async def test_a_cut_response_is_a_reset_to_a_socket(nursery: trio.Nursery) -> None:
    async def stream(request: Request, /) -> Response:
        return Response(200, body=Failing(UpstreamReset("gone")))

    served = Served(nursery, stream)
    client = served.connect_socket()

    await client.send(GET10)

    assert client.has_ended()
    assert served.error() is UpstreamReset


async def test_a_bug_in_a_body_of_a_filter_is_blamed(nursery: trio.Nursery) -> None:
    async def stream(request: Request, /) -> Response:
        return Response(200, body=Failing(KeyError("x")))

    served = Served(nursery, stream)
    client = served.connect()

    await client.send(GET)

    assert client.has_ended()
    assert served.error() is FilterFailed
    assert served.bugs == {("body", "KeyError"): 1}


# Filters


async def test_a_bug_in_a_filter_is_500_and_the_connection_goes_on(
    nursery: trio.Nursery,
) -> None:
    bugs = [KeyError("x")]

    async def clumsy(
        request: Request, inner: Service[Request, Response], /
    ) -> Response:
        if bugs:
            raise bugs.pop()
        return await inner(request)

    served = Served(nursery, answer, [("clumsy", clumsy)])
    client = served.connect()

    first = await client.ask(GET)

    assert first.startswith(b"HTTP/1.1 500 ")
    assert b"tulle-error: filter failed; by=clumsy\r\n" in first
    assert await client.ask(GET) == OK
    assert served.bugs == {("clumsy", "KeyError"): 1}


@pytest.mark.parametrize(
    ("error", "status", "closes"),
    [(Refused("no"), b"403", False), (Overloaded("full"), b"503", True)],
)
async def test_an_error_is_answered_by_its_kind(
    nursery: trio.Nursery, error: Refused | Overloaded, status: bytes, closes: bool
) -> None:
    async def refuse(request: Request, /) -> Response:
        raise error

    served = Served(nursery, refuse)
    client = served.connect()

    await client.send(GET)

    assert client.received.startswith(b"HTTP/1.1 " + status)
    assert client.has_ended() == closes
    assert served.outcomes[0].error is error


async def test_a_head_that_cannot_be_written_is_a_bug_of_a_filter(
    nursery: trio.Nursery,
) -> None:
    body = Chunks(b"ab")

    async def split(request: Request, /) -> Response:
        return Response(200, Headers([(b"x", b"1\r\ny: 2")]), body)

    client = Served(nursery, split).connect()

    await client.send(GET)

    assert client.received.startswith(b"HTTP/1.1 500 ")
    assert body.is_closed


async def test_a_callback_that_raises_harms_nothing_else(
    nursery: trio.Nursery,
) -> None:
    def fail(outcome: Outcome) -> None:
        raise KeyError("x")

    async def call(request: Request, inner: Service[Request, Response], /) -> Response:
        request.exchange.on_end(fail)
        return await inner(request)

    served = Served(nursery, answer, [("call", call)])
    client = served.connect()

    assert await client.ask(GET) == OK
    assert await client.ask(GET) == OK
    assert served.bugs == {("call", "KeyError"): 2}


async def test_a_filter_may_cancel_its_exchange(nursery: trio.Nursery) -> None:
    async def cancel(
        request: Request, inner: Service[Request, Response], /
    ) -> Response:
        request.exchange.cancel(Refused("enough"))
        return await inner(request)

    served = Served(nursery, never, [("cancel", cancel)])
    client = served.connect()

    first = await client.ask(GET)

    assert first.startswith(b"HTTP/1.1 403 ")
    assert (await client.ask(GET)).startswith(b"HTTP/1.1 403 ")
    assert len(served.outcomes) == 2


async def test_a_side_task_may_cancel_its_exchange(nursery: trio.Nursery) -> None:
    async def watch(request: Request, /) -> Response:
        async def cancel() -> None:
            request.exchange.cancel(Refused("enough"))

        request.exchange.start_soon(cancel)
        return await never(request)

    served = Served(nursery, watch)
    client = served.connect()

    assert (await client.ask(GET)).startswith(b"HTTP/1.1 403 ")
    assert served.error() is Refused
    assert not len(served.side_tasks)


async def test_a_cancellation_that_comes_too_late_spares_the_next_exchange(
    nursery: trio.Nursery,
) -> None:
    cancels = [Refused("late")]

    async def watch(request: Request, /) -> Response:
        if cancels:
            request.exchange.cancel(cancels.pop())
        return ok()

    served = Served(nursery, watch)
    client = served.connect_socket()

    await client.send(GET * 3)

    assert client.received == OK * 3
    assert len(served.outcomes) == 3


async def test_side_tasks_end_with_their_exchange(nursery: trio.Nursery) -> None:
    ended = []
    begun = trio.Event()

    async def work(request: Request, /) -> Response:
        async def go_on() -> None:
            begun.set()
            try:
                await trio.sleep_forever()
            finally:
                ended.append(served.outcomes == [])

        request.exchange.start_soon(go_on)
        await begun.wait()
        return ok()

    served = Served(nursery, work)
    client = served.connect()

    await client.send(GET)

    assert ended == [True]
    assert len(served.outcomes) == 1


async def test_no_side_task_starts_behind_the_end(nursery: trio.Nursery) -> None:
    async def call(request: Request, inner: Service[Request, Response], /) -> Response:
        request.exchange.on_end(
            lambda _: request.exchange.start_soon(trio.sleep_forever)
        )
        return await inner(request)

    served = Served(nursery, answer, [("call", call)])
    client = served.connect()

    await client.send(GET)

    assert served.bugs == {("call", "RuntimeError"): 1}
    assert not len(served.side_tasks)


async def test_a_limit_lowered_behind_the_end_is_ignored(
    nursery: trio.Nursery,
) -> None:
    async def call(request: Request, inner: Service[Request, Response], /) -> Response:
        request.exchange.on_end(lambda _: request.exchange.lower(request=0))
        return await inner(request)

    served = Served(nursery, answer, [("call", call)])
    client = served.connect()

    assert await client.ask(GET) == OK
    assert await client.ask(GET) == OK
    assert not served.bugs


async def test_informational_responses_pass(nursery: trio.Nursery) -> None:
    async def hint(request: Request, /) -> Response:
        inform = request.exchange.informational
        assert inform is not None
        await inform(103, Headers([(b"Link", b"</a>")]))
        return ok()

    client = Served(nursery, hint).connect()

    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert await client.ask(GET) == early + OK


async def test_http10_is_sent_no_informational_response(nursery: trio.Nursery) -> None:
    seen = []

    async def look(request: Request, /) -> Response:
        seen.append((request.exchange.informational, request.exchange.version))
        return ok()

    await Served(nursery, look).connect().send(GET10)

    assert seen == [(None, "1.0")]


async def test_an_exchange_ends_on_the_pipeline_it_began_on(
    nursery: trio.Nursery,
) -> None:
    held = Held()
    served = Served(nursery, held)
    client = served.connect()
    await client.send(GET * 2)

    async def changed(request: Request, /) -> Response:
        return Response(204)

    served.http.pipeline = served.chain(changed)
    served.pipeline.retire()
    assert served.closed == []

    await held.release()
    assert client.received == OK + b"HTTP/1.1 204 No Content\r\n\r\n"
    assert served.closed == ["record"]


# Time


async def test_an_idle_connection_is_closed_without_a_word(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    client = Served(nursery, answer, limits=HttpLimits(keep_alive=5)).connect()
    await client.send(GET)

    await later(clock, 4.9)
    assert not client.has_ended()

    await later(clock, 0.1)
    assert client.has_ended()
    assert client.received == OK


async def test_a_request_that_comes_as_its_connection_is_given_up_is_answered(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    served = Served(nursery, answer, limits=HttpLimits(keep_alive=5))
    client = served.connect()
    await wait_all_tasks_blocked()

    # The server wakes with both: the bytes, and the end of its patience.
    await client.stream.send_all(GET)
    for session in served.http.sessions:
        assert isinstance(session, Session)
        session._expire()
    await wait_all_tasks_blocked()

    assert client.received == OK
    assert not client.has_ended()


async def test_a_slow_head_is_408(nursery: trio.Nursery, clock: MockClock) -> None:
    served = Served(nursery, answer, limits=HttpLimits(head_timeout=5))
    client = served.connect()
    await later(clock, 30)
    await client.send(b"GET / HTTP/1.1\r\n")

    await later(clock, 4)
    await client.send(b"Host: a\r\n")
    assert client.received == b""

    await later(clock, 1)
    assert client.received.startswith(b"HTTP/1.1 408 ")
    assert client.has_ended()
    assert served.refusals == [408]


async def test_a_body_that_stops_is_408(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    served = Served(nursery, echo, limits=HttpLimits(stall_timeout=5))
    client = served.connect()
    await client.send(post(3) + b"a")
    await later(clock, 4)
    await client.send(b"b")
    await later(clock, 4)
    assert client.received == b""

    await later(clock, 1)

    assert client.received.startswith(b"HTTP/1.1 408 ")
    assert served.error() is BadRequest


async def test_a_slow_service_is_no_stall(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    held = Held()
    client = Served(nursery, held, limits=HttpLimits(stall_timeout=5)).connect()
    await client.send(GET)

    for _ in range(4):
        await later(clock, 5)

    assert client.received == b""
    await held.release()
    assert client.received == OK


async def test_a_client_that_takes_nothing_is_given_up(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    async def flood(request: Request, /) -> Response:
        return Response(200, body=Chunks(*[b"x" * 1_000_000] * 8))

    served = Served(nursery, flood, limits=HttpLimits(stall_timeout=5))
    client = served.connect_socket(reads=False)
    await client.send(GET)

    await later(clock, 4)
    assert served.outcomes == []

    for _ in range(2):
        await later(clock, 5)
    assert served.error() is ClientGone
    assert not served.http.sessions


async def test_a_client_that_takes_a_little_is_served_on(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    async def flood(request: Request, /) -> Response:
        return Response(200, body=Buffered(b"x" * 8_000_000))

    served = Served(nursery, flood, limits=HttpLimits(stall_timeout=5))
    client = served.connect_socket(reads=False)
    await client.send(GET)

    for _ in range(8):
        await later(clock, 4)
        await client.stream.receive_some(400_000)

    assert served.outcomes == []


@pytest.mark.parametrize("limit", ["request", "idle"])
async def test_a_limit_that_runs_out_is_504_and_the_connection_goes_on(
    nursery: trio.Nursery, clock: MockClock, limit: str
) -> None:
    async def wait(request: Request, /) -> Response:
        request.exchange.lower(**{limit: 3.0})
        return await never(request)

    served = Served(nursery, wait)
    client = served.connect()
    await client.send(GET)
    await later(clock, 2.9)
    assert client.received == b""

    await later(clock, 0.1)

    assert client.received.startswith(b"HTTP/1.1 504 ")
    assert served.error() is DeadlineExceeded
    await client.send(GET)
    await later(clock, 3)
    assert client.received.count(b"HTTP/1.1 504 ") == 2


async def test_a_request_limit_cuts_a_body_that_still_moves(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    class Slow(Chunks):
        async def receive(self) -> bytes:
            await trio.sleep(1)
            return b"x"

    async def drip(request: Request, /) -> Response:
        request.exchange.lower(request=3.0, idle=2.0)
        return Response(200, body=Slow())

    served = Served(nursery, drip)
    client = served.connect()
    await client.send(GET)

    for _ in range(3):
        await later(clock, 1)

    assert client.received.endswith(b"x\r\n")
    assert client.has_ended()
    assert served.error() is DeadlineExceeded


# Endings


async def test_a_client_that_hangs_up_cancels_its_exchange(
    nursery: trio.Nursery,
) -> None:
    served = Served(nursery, never)
    client = served.connect_socket()
    await client.send(GET)
    assert served.outcomes == []

    await client.stream.aclose()
    await wait_all_tasks_blocked()

    assert served.error() is ClientGone
    assert served.outcomes[0].status is None
    assert not served.http.sessions


async def test_a_client_that_resets_between_requests_ends_nothing(
    nursery: trio.Nursery,
) -> None:
    served = Served(nursery, answer)
    client = served.connect_socket(reads=False)
    await client.send(GET)

    await client.stream.aclose()  # with an answer unread: a reset
    await wait_all_tasks_blocked()

    assert [outcome.error for outcome in served.outcomes] == [None]
    assert not served.http.sessions


async def test_a_client_that_left_before_its_error_is_not_served_on(
    nursery: trio.Nursery,
) -> None:
    held = Held()

    async def refuse(request: Request, /) -> Response:
        await held(request)
        raise Refused("no")

    served = Served(nursery, refuse)
    client = served.connect()
    await client.send(GET)

    await client.stream.aclose()
    await held.release()

    assert served.error() is Refused
    assert not served.http.sessions


async def test_an_error_that_nobody_takes_is_not_written_for_ever(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    async def refuse(request: Request, /) -> Response:
        raise Refused("no")

    served = Served(nursery, refuse)
    client = served.connect_deaf()
    await client.send(GET)
    assert not served.outcomes

    await later(clock, FAREWELL)

    assert served.error() is Refused
    assert client.has_ended()


async def test_nothing_follows_half_an_informational_response(
    nursery: trio.Nursery,
) -> None:
    async def hint(request: Request, /) -> Response:
        async def cancel() -> None:
            await began.wait()
            request.exchange.cancel(Refused("enough"))

        request.exchange.start_soon(cancel)
        inform = request.exchange.informational
        assert inform is not None
        await inform(103, Headers())
        return ok()

    began = trio.Event()
    served = Served(nursery, hint)
    client = served.connect_deaf()
    await client.send(GET)

    began.set()
    await wait_all_tasks_blocked()

    assert served.error() is Refused
    assert served.outcomes[0].status is None
    assert client.has_ended()


async def test_a_cut_connection_ends_its_exchange_and_its_tasks(
    nursery: trio.Nursery,
) -> None:
    async def work(request: Request, /) -> Response:
        request.exchange.start_soon(trio.sleep_forever)
        return await never(request)

    served = Served(nursery, work)
    scope = trio.CancelScope()
    client = served.connect(scope)
    await client.send(GET)

    scope.cancel()
    await wait_all_tasks_blocked()

    assert [type(outcome.error) for outcome in served.outcomes] == [Draining]
    assert client.has_ended()
    assert not len(served.side_tasks)


async def test_a_drain_closes_what_stays_idle(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    served = Served(nursery, answer)
    client = served.connect()
    await client.send(GET)

    served.http.drain()
    await wait_all_tasks_blocked()
    assert not client.has_ended()

    await later(clock, MOMENT)
    assert client.has_ended()
    assert client.received == OK


async def test_a_drain_tells_a_busy_client_to_close(nursery: trio.Nursery) -> None:
    held = Held()
    served = Served(nursery, held)
    client = served.connect()
    await client.send(GET)

    served.http.drain()
    await held.release()

    assert client.received == OK_CLOSE
    assert client.has_ended()


async def test_a_drain_waits_for_the_rest_of_a_head(nursery: trio.Nursery) -> None:
    served = Served(nursery, answer)
    client = served.connect()
    await client.send(GET[:10])

    served.http.drain()

    assert await client.ask(GET[10:]) == OK_CLOSE


@pytest.mark.parametrize("is_early", [True, False], ids=["connected", "queued"])
async def test_a_drain_gives_a_new_client_a_moment(
    nursery: trio.Nursery, clock: MockClock, is_early: bool
) -> None:
    served = Served(nursery, answer)
    early = [served.connect(), served.connect()] if is_early else []
    await wait_all_tasks_blocked()

    served.http.drain()
    quick, slow = early or [served.connect(), served.connect()]

    assert await quick.ask(GET) == OK_CLOSE
    await later(clock, MOMENT)
    assert slow.has_ended()
    assert slow.received == b""


async def test_a_request_that_crosses_a_drain_is_answered(
    nursery: trio.Nursery,
) -> None:
    served = Served(nursery, answer)
    client = served.connect()
    await client.send(GET)

    served.http.drain()

    assert await client.ask(GET) == OK_CLOSE
    assert [outcome.error for outcome in served.outcomes] == [None, None]


# Other protocols


async def test_an_upgrade_hands_over_with_what_came_early(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    upstream, far = stream_pair()

    async def switch(request: Request, /) -> Response:
        request.exchange.lower(request=3.0)
        return Response(101, Headers([(b"Upgrade", b"x")]), upgrade=upstream)

    served = Served(nursery, switch)
    client = served.connect()

    await client.send(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly"
    )
    await later(clock, 10)
    await far.send_all(b"hello")
    await wait_all_tasks_blocked()

    assert await far.receive_some() == b"early"
    assert client.received.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert client.received.endswith(b"Connection: upgrade\r\n\r\nhello")
    await client.send(b" and late")
    await far.aclose()
    await client.stream.aclose()
    await wait_all_tasks_blocked()
    [outcome] = served.outcomes
    assert (outcome.status, outcome.is_success) == (101, True)
    assert (outcome.received, outcome.sent) == (14, 5)
    assert not served.http.sessions


async def test_a_silent_tunnel_ends_by_its_idle_limit(
    nursery: trio.Nursery, clock: MockClock
) -> None:
    upstream, far = stream_pair()

    async def switch(request: Request, /) -> Response:
        request.exchange.lower(idle=3.0)
        return Response(101, Headers([(b"Upgrade", b"x")]), upgrade=upstream)

    served = Served(nursery, switch)
    client = served.connect()
    await client.send(GET)
    await client.send(b"hi")
    await later(clock, 2)
    await far.send_all(b"hello")
    await later(clock, 2)
    assert not client.has_ended()

    await later(clock, 1)

    assert client.has_ended()
    assert served.error() is DeadlineExceeded
    assert (served.outcomes[0].received, served.outcomes[0].sent) == (2, 5)
    assert upstream.is_closed


async def test_a_client_half_closes_its_tunnel(nursery: trio.Nursery) -> None:
    upstream, far = stream_pair()

    async def switch(request: Request, /) -> Response:
        return Response(101, Headers([(b"Upgrade", b"x")]), upgrade=upstream)

    served = Served(nursery, switch)
    client = served.connect_socket()
    await client.send(GET)

    await client.stream.send_eof()
    assert await far.receive_some() == b""
    await far.send_all(b"still")
    await far.send_eof()
    await wait_all_tasks_blocked()

    assert client.received.endswith(b"\r\n\r\nstill")
    assert served.error() is None


async def test_states_are_shown(nursery: trio.Nursery) -> None:
    held = Held()
    served = Served(nursery, held)
    busy = served.connect()
    served.connect()
    await busy.send(GET)

    assert repr(served.http) == "<Http 1 active 1 idle>"
    assert sorted(map(repr, served.http.sessions)) == [
        "<Session 192.0.2.1:1234: active>",
        "<Session 192.0.2.1:1234: idle>",
    ]
