from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Awaitable, Callable

import attrs
import pytest

from meshfilters.errors import ClientGone, Draining, UpstreamReset
from meshfilters.exchange import Attempt, Endpoint, Exchange, Limits, Outcome
from meshfilters.memory import stream_pair
from meshfilters.message import Headers
from meshfilters.stream import Certificate, Tls
from meshfilters.testing import Kit

CERTIFICATE = Certificate("spiffe://example.org/a", (), (), "CN=a", "00")
SILENT = Tls("TLSv1.3", "TLS_AES_128_GCM_SHA256", None, None, None)


@attrs.define(eq=False)
class Recorder:
    """A runtime that only notes what it is asked."""

    cancelled: list[Exchange] = attrs.field(factory=list)
    rearmed: int = 0
    tasks: list[Callable[[], Awaitable[None]]] = attrs.field(factory=list)
    blamed: list[tuple[str, Exception]] = attrs.field(factory=list)

    def cancel(self, exchange: Exchange) -> None:
        self.cancelled.append(exchange)

    def rearm(self, exchange: Exchange) -> None:
        self.rearmed += 1

    def start_soon(
        self, exchange: Exchange, task: Callable[[], Awaitable[None]]
    ) -> None:
        self.tasks.append(task)

    def blame(self, owner: str, error: Exception) -> None:
        self.blamed.append((owner, error))


def made(runtime: Recorder | None = None) -> Exchange:
    connection = Kit().ask().exchange.connection
    return Exchange(connection, 0.0, Limits(), runtime or Recorder())


def attempt() -> Attempt:
    return Attempt(1, Endpoint("service", "192.0.2.1:80"), 0.0, Headers())


class TestConnection:
    @pytest.mark.parametrize(
        ("tls", "identity"),
        [
            (None, None),
            (SILENT, None),
            (attrs.evolve(SILENT, peer=CERTIFICATE), "spiffe://example.org/a"),
        ],
    )
    def test_its_identity_is_the_peers_proven_name(
        self, tls: Tls | None, identity: str | None
    ) -> None:
        exchange = made()
        exchange.connection.tls = tls

        assert exchange.connection.identity == identity
        assert exchange.peer == identity

    def test_another_stream_keeps_what_is_known(self) -> None:
        connection = made().connection
        stream, _ = stream_pair()
        first = connection.with_(stream, SILENT)
        second = first.with_(connection.stream)

        assert (first.stream, first.tls, first.client) == (
            stream,
            SILENT,
            connection.client,
        )
        assert second.tls is SILENT
        assert connection.tls is None


class TestLimits:
    def test_there_are_none_until_somebody_sets_one(self) -> None:
        assert attrs.astuple(made().limits) == (math.inf,) * 4

    @pytest.mark.parametrize("name", ["request", "head", "attempt", "idle"])
    def test_a_limit_is_lowered_alone_and_never_raised(self, name: str) -> None:
        exchange = made()
        for seconds in (5, 3, 4):
            exchange.lower(**{name: seconds})

        limits = attrs.asdict(exchange.limits)
        assert limits.pop(name) == 3
        assert set(limits.values()) == {math.inf}

    def test_the_runtime_is_told_of_limits_it_watches_and_of_no_others(self) -> None:
        runtime = Recorder()
        exchange = made(runtime)
        exchange.lower(head=1, attempt=1)
        assert runtime.rearmed == 0
        exchange.lower(request=2)
        exchange.lower(idle=2)
        exchange.lower(request=3, idle=3)

        assert runtime.rearmed == 2


class TestCancel:
    def test_the_first_reason_counts(self) -> None:
        runtime = Recorder()
        exchange = made(runtime)
        reason = ClientGone()
        exchange.cancel(reason)
        exchange.cancel(Draining())

        assert exchange.reason is reason
        assert runtime.cancelled == [exchange]

    def test_what_is_over_is_not_cancelled(self) -> None:
        runtime = Recorder()
        exchange = made(runtime)
        exchange.end(Outcome(200))
        exchange.cancel(ClientGone())

        assert exchange.reason is None
        assert runtime.cancelled == []


class TestCallbacks:
    def test_the_end_is_told_to_all_who_asked_in_their_order(self) -> None:
        exchange = made()
        told: list[tuple[str, Outcome]] = []
        exchange.on_end(lambda outcome: told.append(("first", outcome)))
        exchange.on_end(lambda outcome: told.append(("second", outcome)))
        outcome = Outcome(200)
        exchange.end(outcome)

        assert told == [("first", outcome), ("second", outcome)]
        assert exchange.outcome is outcome

    def test_a_callback_that_raises_is_blamed_on_its_filter_and_harms_no_other(
        self,
    ) -> None:
        runtime = Recorder()
        exchange = made(runtime)
        told: list[Outcome] = []
        bug = ValueError("a bug")

        def broken(outcome: Outcome) -> None:
            raise bug

        exchange.owner = "broken"
        exchange.on_end(broken)
        exchange.owner = "sound"
        exchange.on_end(told.append)
        exchange.end(Outcome(200))

        assert runtime.blamed == [("broken", bug)]
        assert len(told) == 1

    def test_an_attempt_is_recorded_and_told_before_it_sends(self) -> None:
        exchange = made()
        exchange.on_attempt(lambda each: each.headers.set(b"traceparent", b"x"))
        begun = attempt()
        exchange.begin(begun)

        assert exchange.attempts == [begun]
        assert begun.headers.get(b"traceparent") == b"x"

    def test_an_attempts_callback_that_raises_is_blamed_and_the_attempt_goes_on(
        self,
    ) -> None:
        runtime = Recorder()
        exchange = made(runtime)
        bug = ValueError("a bug")

        def broken(begun: Attempt) -> None:
            raise bug

        exchange.owner = "broken"
        exchange.on_attempt(broken)
        exchange.begin(attempt())

        assert runtime.blamed == [("broken", bug)]
        assert len(exchange.attempts) == 1

    def test_it_is_watched_once_somebody_asked_for_attempts(self) -> None:
        exchange = made()
        before = exchange.is_watched
        exchange.on_attempt(lambda each: None)

        assert (before, exchange.is_watched) == (False, True)

    def test_one_whose_callbacks_hold_it_is_gone_once_it_is_over(self) -> None:
        def watched() -> weakref.ref[Limits]:
            exchange = made()
            exchange.on_end(lambda outcome: exchange.cancel(ClientGone()))
            exchange.on_attempt(lambda each: exchange.cancel(ClientGone()))
            exchange.end(Outcome(200))
            return weakref.ref(exchange.limits)

        gc.disable()
        try:
            assert watched()() is None
        finally:
            gc.enable()

    def test_a_side_task_is_the_runtimes(self) -> None:
        runtime = Recorder()

        async def task() -> None:
            raise AssertionError("nobody runs it here")

        made(runtime).start_soon(task)

        assert runtime.tasks == [task]


class TestOutcome:
    @pytest.mark.parametrize(
        ("outcome", "is_success"),
        [
            (Outcome(200), True),
            (Outcome(499), True),
            (Outcome(500), False),
            (Outcome(None), False),
            (Outcome(200, UpstreamReset()), False),
            (Outcome(200, grpc_status=0), True),
            (Outcome(200, grpc_status=5), True),
            *(
                (Outcome(200, grpc_status=code), False)
                for code in (2, 4, 7, 13, 14, 15)
            ),
        ],
    )
    def test_success_is_linkerds(self, outcome: Outcome, is_success: bool) -> None:
        assert outcome.is_success is is_success
