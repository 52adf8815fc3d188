from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import attrs
import pytest
import trio
import trio.testing

from meshfilters.api import ConnectionFilter, DialFilter, RequestFilter, Service
from meshfilters.env import Env
from meshfilters.errors import Refused, UpstreamReset
from meshfilters.exchange import Attempt, Connection, Endpoint, Outcome
from meshfilters.memory import stream_pair
from meshfilters.message import EMPTY, Body, Buffered, Headers, Request, Response
from meshfilters.stream import Stream
from meshfilters.testing import (
    Chunks,
    Kit,
    check_connection_filter,
    check_dial_filter,
    check_filter,
    read,
)

Inner = Service[Request, Response]


class TestChunks:
    async def test_chunks_come_one_by_one_and_then_the_end(self) -> None:
        body = Chunks(b"a", b"b", trailers=[(b"x", b"y")])

        assert [await body.receive() for _ in range(4)] == [b"a", b"b", b"", b""]
        assert body.received == 2
        assert body.trailers.get(b"x") == b"y"

    async def test_nothing_comes_once_it_is_closed(self) -> None:
        body = Chunks(b"a", b"b")
        await body.receive()
        await body.aclose()

        assert await body.receive() == b""
        assert body.is_closed
        assert body.received == 1

    def test_its_length_is_unknown_unless_told(self) -> None:
        assert Chunks(b"a").length is None
        assert Chunks(b"a", length=1).length == 1

    async def test_read_gives_the_whole_of_a_body(self) -> None:
        assert await read(Chunks(b"a", b"b")) == b"ab"
        assert await read(EMPTY) == b""


class TestScripted:
    async def test_it_answers_in_turn_and_keeps_what_it_was_asked(self) -> None:
        kit = Kit()
        upstream = kit.script(Response(200), lambda request: Response(201))
        first, second = kit.ask(body=Chunks(b"a", b"b")), kit.ask()

        assert (await upstream(first)).status == 200
        assert (await upstream(second)).status == 201
        assert upstream.requests == [first, second]
        assert upstream.bodies == [b"ab", b""]

    @pytest.mark.parametrize("error", [UpstreamReset(), ValueError("a bug")])
    async def test_it_raises_what_is_an_exception(self, error: Exception) -> None:
        kit = Kit()
        request = kit.ask()

        with pytest.raises(type(error)):
            await kit.script(error)(request)

        (attempt,) = request.exchange.attempts
        assert attempt.error is (error if isinstance(error, UpstreamReset) else None)
        assert (attempt.status, attempt.ended) == (None, 0)

    async def test_each_call_is_an_attempt_with_its_outcome(self) -> None:
        kit = Kit()
        request = kit.ask()
        kit.advance(2)
        await kit.script(Response(204))(request)

        (attempt,) = request.exchange.attempts
        assert attempt.endpoint.service == "service"
        assert (attempt.started, attempt.head, attempt.status) == (2, 2, 204)

    async def test_an_unexpected_request_is_an_error_of_the_test(self) -> None:
        kit = Kit()

        with pytest.raises(AssertionError, match="nothing left in the script"):
            await kit.script()(kit.ask())


class TestKit:
    def test_a_request_is_plain_unless_told(self) -> None:
        request = Kit(direction="inbound").ask()

        assert (request.method, request.target) == (b"GET", b"/")
        assert request.headers.raw == [(b"Host", b"service")]
        assert request.destination == "service"
        assert request.body is EMPTY
        assert request.exchange.peer is None
        assert request.exchange.connection.direction == "inbound"

    def test_a_client_may_have_proved_a_name(self) -> None:
        assert Kit().ask(peer="spiffe://x/a").exchange.peer == "spiffe://x/a"

    async def test_a_connection_is_given_to_a_filter_of_connections(self) -> None:
        kit = Kit(direction="inbound")
        ours, theirs = stream_pair()
        connection = kit.connection(ours, peer="web", client="unix")
        await theirs.send_all(b"hello")

        assert await connection.stream.receive_some() == b"hello"
        assert (connection.identity, connection.client) == ("web", "unix")
        assert connection.direction == "inbound"
        assert kit.connection().client == kit.ask().exchange.connection.client

    def test_limits_of_new_exchanges_are_their_own(self) -> None:
        kit = Kit()
        kit.limits.request = 5
        first, second = kit.ask(), kit.ask()
        first.exchange.lower(request=1)

        assert (first.exchange.limits.request, second.exchange.limits.request) == (1, 5)

    def test_the_clock_moves_when_told(self) -> None:
        kit = Kit()
        kit.advance(1.5)

        assert kit.env.clock() == 1.5
        assert kit.env.time() == kit.epoch + 1.5
        assert kit.ask().exchange.started == 1.5

    def test_chance_is_the_same_each_time(self) -> None:
        draws = [Kit(seed=7).env.random.random() for _ in range(2)]

        assert draws[0] == draws[1] != Kit(seed=8).env.random.random()

    def test_attempts_are_numbered_and_have_headers_of_their_own(self) -> None:
        kit = Kit()
        request = kit.ask()
        first, second = kit.attempt(request), kit.attempt(request, "192.0.2.9:1")
        second.headers.set(b"host", b"other")

        assert (first.number, second.number) == (1, 2)
        assert second.endpoint.address == "192.0.2.9:1"
        assert request.headers.get(b"host") == b"service"

    def test_the_end_is_told_with_what_the_test_says(self) -> None:
        kit = Kit()
        request = kit.ask()
        told: list[Outcome] = []
        request.exchange.on_end(told.append)
        kit.attempt(request)
        kit.advance(2)
        outcome = kit.end(
            request,
            received=1,
            sent=2,
            grpc_status=3,
            trailers=[(b"grpc-status", b"3")],
        )

        assert told == [outcome]
        assert attrs.astuple(outcome, recurse=False) == (
            *(200, None, 1, 2, 2.0, 2.0, 1),
            *(Headers([(b"grpc-status", b"3")]), 3),
        )

    def test_an_end_without_a_head_has_no_time_of_it(self) -> None:
        kit = Kit()
        error = Refused()
        outcome = kit.end(kit.ask(), None, error)

        assert (outcome.head, outcome.error, outcome.trailers) == (None, error, None)

    def test_a_callback_that_raises_is_blamed(self) -> None:
        kit = Kit()
        request = kit.ask()

        def broken(outcome: Outcome) -> None:
            raise ValueError("a bug")

        request.exchange.owner = "fair"
        request.exchange.on_end(broken)
        kit.end(request)

        ((owner, error),) = kit.blamed
        assert owner == "fair"
        assert str(error) == "a bug"

    def test_counts_are_one_counters_without_the_direction(self) -> None:
        kit = Kit("fair")
        kit.env.counter("a_total", "dst").add(("x",), 2)
        kit.env.counter("b_total").add()
        kit.env.decide("refused")

        assert kit.counts("tulle_fair_a_total") == {("x",): 2}
        assert kit.counts("tulle_fair_c_total") == {}
        assert kit.decisions == {"refused": 1}

    def test_spans_are_kept(self) -> None:
        kit = Kit()
        kit.env.export(("span", 1))

        assert kit.spans == [("span", 1)]


class TestTasks:
    async def test_a_side_task_runs_beside_the_exchange_until_its_end(self) -> None:
        async with Kit() as kit:
            task = Sleeper()
            request = kit.ask()
            request.exchange.start_soon(task)
            await trio.testing.wait_all_tasks_blocked()
            assert task.seen == ["started"]
            kit.end(request)
            await trio.testing.wait_all_tasks_blocked()

            assert task.seen == ["started", "cancelled"]

    async def test_a_cancelled_exchange_cancels_its_tasks_alone(self) -> None:
        async with Kit() as kit:
            task, other = Sleeper(), Sleeper()
            request = kit.ask()
            request.exchange.start_soon(task)
            kit.ask().exchange.start_soon(other)
            await trio.testing.wait_all_tasks_blocked()
            request.exchange.cancel(Refused())
            await trio.testing.wait_all_tasks_blocked()

            assert task.seen == ["started", "cancelled"]
            assert other.seen == ["started"]

    async def test_a_side_task_that_raises_is_blamed_on_who_started_it(self) -> None:
        async def broken() -> None:
            raise ValueError("a bug")

        async with Kit() as kit:
            exchange = kit.ask().exchange
            exchange.owner = "fair"
            exchange.start_soon(broken)
            exchange.owner = "other"
            await trio.testing.wait_all_tasks_blocked()

            assert [owner for owner, _ in kit.blamed] == ["fair"]

    async def test_background_work_runs_as_long_as_the_kit(self) -> None:
        kit = Kit()
        before, within = Sleeper(), Sleeper()
        kit.env.start_soon(before)
        async with kit:
            kit.env.start_soon(within)
            await trio.testing.wait_all_tasks_blocked()
            assert before.seen == within.seen == ["started"]

        assert before.seen == within.seen == ["started", "cancelled"]

    async def test_what_is_to_be_called_at_the_close_is(self) -> None:
        closed: list[str] = []
        async with Kit() as kit:
            kit.env.on_close(lambda: closed.append("closed"))
            assert closed == []

        assert closed == ["closed"]

    async def test_what_fails_in_the_kit_is_raised_as_it_is(self) -> None:
        with pytest.raises(ValueError, match="mine"):
            async with Kit():
                raise ValueError("mine")

    async def test_background_work_that_raises_fails_the_test(self) -> None:
        async def broken() -> None:
            raise ValueError("a bug")

        with pytest.RaisesGroup(ValueError):
            async with Kit() as kit:
                kit.env.start_soon(broken)
                await trio.testing.wait_all_tasks_blocked()

    def test_without_the_kit_open_tasks_stay_unstarted(self) -> None:
        kit = Kit()
        task = Sleeper()
        request = kit.ask()
        request.exchange.start_soon(task)
        kit.end(request)

        assert task.seen == []


class Sleeper:
    """A task that sleeps until it is cancelled, and says so."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self) -> None:
        self.seen.append("started")
        try:
            await trio.sleep_forever()
        finally:
            self.seen.append("cancelled")


@attrs.define
class Changed:
    """A response's body that a filter has changed; ``length`` must be unknown."""

    source: Body
    change: Callable[[bytes], bytes] = bytes
    is_greedy: bool = False

    length: None = None

    @property
    def trailers(self) -> Headers:
        return self.source.trailers

    async def receive(self) -> bytes:
        if self.is_greedy:
            return await read(self.source)
        return self.change(await self.source.receive())

    async def aclose(self) -> None:
        await self.source.aclose()


async def passes(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response.with_(body=Changed(response.body))


async def changes_the_status(request: Request, inner: Inner, /) -> Response:
    return (await inner(request)).with_(status=200)


async def drops_the_request_body(request: Request, inner: Inner, /) -> Response:
    return await inner(request.with_(body=EMPTY))


async def collects_the_request(request: Request, inner: Inner, /) -> Response:
    return await inner(request.with_(body=Buffered(await read(request.body))))


async def collects_the_response(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response.with_(body=Buffered(await read(response.body)))


async def loses_the_response(request: Request, inner: Inner, /) -> Response:
    return (await inner(request)).with_(body=EMPTY)


async def collects_when_asked(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response.with_(body=Changed(response.body, is_greedy=True))


async def changes_the_response(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response.with_(body=Changed(response.body, bytes.upper))


async def drops_without_closing(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response if response.status != 503 else Response(500)


async def reads_what_it_hands_on(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    if response.status == 503:
        await read(response.body)
    return response


class Trailerless(Changed):
    """A body of whose trailers nobody thought."""

    @property
    def trailers(self) -> Headers:
        return Headers()


async def loses_trailers(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response.with_(body=Trailerless(response.body))


async def loses_the_requests_trailers(request: Request, inner: Inner, /) -> Response:
    return await inner(request.with_(body=Trailerless(request.body)))


async def swallows_a_cancellation(request: Request, inner: Inner, /) -> Response:
    try:
        return await inner(request)
    except trio.Cancelled:
        return Response(200)


async def raises_at_the_end(request: Request, inner: Inner, /) -> Response:
    def broken(outcome: Outcome) -> None:
        raise ValueError("a bug")

    request.exchange.on_end(broken)
    return await inner(request)


async def raises_at_an_attempt(request: Request, inner: Inner, /) -> Response:
    def broken(attempt: Attempt) -> None:
        raise ValueError("a bug")

    request.exchange.on_attempt(broken)
    return await inner(request)


async def starts_a_task_at_the_end(request: Request, inner: Inner, /) -> Response:
    exchange = request.exchange
    exchange.on_end(lambda outcome: exchange.start_soon(trio.sleep_forever))
    return await inner(request)


def building(running: RequestFilter) -> Callable[[Env], RequestFilter]:
    return lambda env: running


async def test_a_filter_that_passes_everything_on_is_fine() -> None:
    await check_filter(building(passes))


@pytest.mark.parametrize(
    ("running", "complaint"),
    [
        (changes_the_status, "it changed the status to 200"),
        (drops_the_request_body, "it did not pass the request's body on"),
        (collects_the_request, "it collected the request's body"),
        (collects_the_response, "it read the response before it was asked to"),
        (loses_the_response, "it lost the response's first chunk"),
        (collects_when_asked, "it collected the response's body"),
        (changes_the_response, "it changed the response to b'ABC'"),
        (drops_without_closing, "it dropped a response without closing its body"),
        (reads_what_it_hands_on, "it handed a body on that it had read"),
        (loses_trailers, r"it changed the response's trailers to \(\)"),
        (loses_the_requests_trailers, r"it changed the request's trailers to \(\)"),
        (swallows_a_cancellation, "it swallowed a cancellation"),
        (raises_at_the_end, "a callback or task of it raised"),
        (raises_at_an_attempt, "a callback or task of it raised"),
        (starts_a_task_at_the_end, "it left a task behind"),
    ],
)
async def test_what_no_filter_may_do_is_found(
    running: RequestFilter, complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        await check_filter(building(running))


class Shouting:
    """A stream that changes what it sends and receives, and may forget to close."""

    tls = None

    def __init__(
        self, inner: Stream, *, sends: bool = False, closes: bool = True
    ) -> None:
        self._inner = inner
        self._sends = sends
        self._closes = closes
        self.peek = inner.peek
        self.send_eof = inner.send_eof
        self.start_tls = inner.start_tls

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await self._inner.receive_some(max_bytes)
        return data if self._sends else data.upper()

    async def send_all(self, data: bytes) -> None:
        await self._inner.send_all(data.upper() if self._sends else data)

    async def aclose(self) -> None:
        if self._closes:
            await self._inner.aclose()


Inside = Service[Connection, None]
Dial = Service[Endpoint, Stream]


async def lets_in(connection: Connection, inner: Inside, /) -> None:
    await inner(connection)


async def turns_away(connection: Connection, inner: Inside, /) -> None:
    return


async def eats_bytes(connection: Connection, inner: Inside, /) -> None:
    await connection.stream.receive_some(2)
    await inner(connection)


async def shouts_back(connection: Connection, inner: Inside, /) -> None:
    await inner(connection.with_(Shouting(connection.stream, sends=True)))


async def lets_nobody_cancel(connection: Connection, inner: Inside, /) -> None:
    with suppress(trio.Cancelled):
        await inner(connection)


async def test_a_connection_filter_that_lets_everybody_in_is_fine() -> None:
    await check_connection_filter(lambda env: lets_in)


@pytest.mark.parametrize(
    ("running", "complaint"),
    [
        (turns_away, "it did not pass the connection on"),
        (eats_bytes, "it changed what the client sent to .b'n', b'ng'"),
        (shouts_back, "it changed the answer to b'PONG'"),
        (lets_nobody_cancel, "it swallowed a cancellation"),
    ],
)
async def test_what_no_connection_filter_may_do_is_found(
    running: ConnectionFilter, complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        await check_connection_filter(lambda env: running)


async def dials(endpoint: Endpoint, inner: Dial, /) -> Stream:
    return await inner(endpoint)


async def shouts(endpoint: Endpoint, inner: Dial, /) -> Stream:
    return Shouting(await inner(endpoint), sends=True)


async def hears_shouts(endpoint: Endpoint, inner: Dial, /) -> Stream:
    return Shouting(await inner(endpoint))


async def leaves_open(endpoint: Endpoint, inner: Dial, /) -> Stream:
    return Shouting(await inner(endpoint), closes=False)


async def dials_on(endpoint: Endpoint, inner: Dial, /) -> Stream:
    try:
        return await inner(endpoint)
    except trio.Cancelled:
        return stream_pair()[0]


async def test_a_dial_filter_that_hands_its_stream_on_is_fine() -> None:
    await check_dial_filter(lambda env: dials)


@pytest.mark.parametrize(
    ("running", "complaint"),
    [
        (shouts, "it changed what was sent to b'PING'"),
        (hears_shouts, "it changed the answer to b'PONG'"),
        (leaves_open, "its stream did not close the one inside it"),
        (dials_on, "it swallowed a cancellation"),
    ],
)
async def test_what_no_dial_filter_may_do_is_found(
    running: DialFilter, complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        await check_dial_filter(lambda env: running)
