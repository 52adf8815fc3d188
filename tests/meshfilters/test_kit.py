from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from meshfilters.api import Service
from meshfilters.errors import Refused, UpstreamReset
from meshfilters.exchange import Outcome
from meshfilters.memory import stream_pair
from meshfilters.message import EMPTY, Headers, Request, Response
from meshfilters.testing import (
    Chunks,
    Kit,
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
