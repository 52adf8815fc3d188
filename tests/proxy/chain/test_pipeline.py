"""Chains as they run: timed and blamed by filter, closed behind the last user."""

from __future__ import annotations

import logging

import attrs
import pytest
import trio

from meshfilters.api import Filter, RequestFilter, Service
from meshfilters.counters import Metrics
from meshfilters.errors import FilterFailed, Refused
from meshfilters.memory import stream_pair
from meshfilters.message import Headers, Request, Response
from meshfilters.testing import Kit
from proxy.chain.pipeline import (
    Blame,
    Pipeline,
    Running,
    Tallies,
    Tally,
    is_stream,
    other_pipeline,
    request_pipeline,
)
from proxy.config.model import Placed


@attrs.frozen
class Settings:
    def build(self, env: object) -> object:
        raise AssertionError("built by the test")


class Clock:
    """A performance counter that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", clock)
    return clock


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def blame(metrics: Metrics) -> Blame:
    return Blame(metrics)


def failures(metrics: Metrics) -> dict[tuple[str | int, ...], float]:
    return metrics.counter("tulle_filter_failures_total", "", ()).values


def running(
    name: str, each: RequestFilter, closed: list[str] | None = None
) -> Running[Request, Response]:
    told = [] if closed is None else closed
    return Running(Placed(name, Settings()), each, Tally(), lambda: told.append(name))


async def through(request: Request, inner: Service[Request, Response], /) -> Response:
    return await inner(request)


async def answer(request: Request, /) -> Response:
    return Response(200)


def working(clock: Clock, before: float, behind: float) -> RequestFilter:
    async def work(request: Request, inner: Service[Request, Response], /) -> Response:
        clock.now += before
        response = await inner(request)
        clock.now += behind
        return response

    return work


async def test_each_filter_is_charged_its_own_time(clock: Clock, blame: Blame) -> None:
    outer, inner = (
        running("outer", working(clock, 1, 2)),
        running("inner", working(clock, 4, 8)),
    )

    async def serve(request: Request, /) -> Response:
        clock.now += 16
        request.exchange.spent += 16  # as forward does
        return Response(200)

    await request_pipeline([outer, inner], serve, blame).service(Kit().ask())

    assert outer.tally == Tally(calls=1, seconds=3)
    assert inner.tally == Tally(calls=1, seconds=12)


async def test_a_filter_that_asks_twice_is_charged_what_is_its_own(
    clock: Clock, blame: Blame
) -> None:
    async def twice(request: Request, inner: Service[Request, Response], /) -> Response:
        clock.now += 1
        await inner(request)
        return await inner(request)

    retry, inner = running("retry", twice), running("inner", working(clock, 4, 0))

    await request_pipeline([retry, inner], answer, blame).service(Kit().ask())

    assert retry.tally == Tally(calls=1, seconds=1)
    assert inner.tally == Tally(calls=2, seconds=8)


async def test_an_exchange_that_asks_for_timings_gets_them(
    clock: Clock, blame: Blame
) -> None:
    request = Kit().ask()
    request.exchange.timings = {}
    chain = [
        running("one", working(clock, 1, 0)),
        running("two", working(clock, 2, 0)),
        running("one", working(clock, 4, 0)),
    ]

    await request_pipeline(chain, answer, blame).service(request)

    assert request.exchange.timings == {"one": 5, "two": 2}


async def test_an_error_is_named_by_the_filter_that_raised_it(blame: Blame) -> None:
    async def refuse(request: Request, inner: object, /) -> Response:
        raise Refused("no")

    outer, inner = running("outer", through), running("inner", refuse)

    with pytest.raises(Refused) as caught:
        await request_pipeline([outer, inner], answer, blame).service(Kit().ask())

    assert caught.value.by == "inner"
    assert (outer.tally.errors, inner.tally.errors) == (0, 1)


async def test_an_error_of_the_service_keeps_its_name(blame: Blame) -> None:
    error = Refused("no")
    error.by = "forward"

    async def refuse(request: Request, /) -> Response:
        raise error

    outer = running("outer", through)

    with pytest.raises(Refused) as caught:
        await request_pipeline([outer], refuse, blame).service(Kit().ask())

    assert caught.value is error
    assert error.by == "forward"
    assert outer.tally.errors == 0


async def test_a_bug_becomes_a_failure_of_its_filter(
    blame: Blame, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    async def clumsy(request: Request, inner: object, /) -> Response:
        raise KeyError("x")

    seen = []

    async def look(request: Request, inner: Service[Request, Response], /) -> Response:
        try:
            return await inner(request)
        except FilterFailed as error:
            seen.append(error.by)
            raise

    chain = [running("look", look), running("clumsy", clumsy)]

    with caplog.at_level(logging.ERROR), pytest.raises(FilterFailed) as caught:
        await request_pipeline(chain, answer, blame).service(Kit().ask())

    assert seen == ["clumsy"]
    assert isinstance(caught.value.__cause__, KeyError)
    assert failures(metrics) == {("clumsy", "KeyError"): 1}
    (line,) = caplog.messages
    assert line.startswith(
        "filter failed filter=clumsy error=KeyError detail=\"'x'\" at="
    )
    assert "test_pipeline.py:" in line


def test_an_error_that_was_never_raised_can_be_blamed(
    blame: Blame, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    blame("acl", KeyError("x"))

    assert failures(metrics) == {("acl", "KeyError"): 1}
    assert caplog.messages == ["filter failed filter=acl error=KeyError detail=\"'x'\""]


def test_a_bug_is_where_the_filter_stood_and_not_what_it_called_of_ours(
    blame: Blame, caplog: pytest.LogCaptureFixture
) -> None:
    def clumsy() -> None:
        Headers().add("x", b"y")  # type: ignore[arg-type]  # a filter without mypy

    with pytest.raises(TypeError) as caught:
        clumsy()
    blame("acl", caught.value)
    ours = caught.value.__traceback__
    while ours is not None and ours.tb_next is not None:
        ours = ours.tb_next
    blame("acl", caught.value.with_traceback(ours))

    assert "test_pipeline.py:" in caplog.messages[0]
    assert "meshfilters/message.py:" in caplog.messages[1]


def test_the_traceback_of_a_bug_follows_at_the_level_debug(
    blame: Blame, caplog: pytest.LogCaptureFixture
) -> None:
    for level in (logging.INFO, logging.DEBUG):
        with caplog.at_level(level):
            blame("acl", KeyError("x"))

    assert [bool(each.exc_info) for each in caplog.records] == [False, True]


async def test_the_owner_is_the_filter_that_is_running(blame: Blame) -> None:
    owners = []

    async def look(request: Request, inner: Service[Request, Response], /) -> Response:
        owners.append(request.exchange.owner)
        response = await inner(request)
        owners.append(request.exchange.owner)
        return response

    request = Kit().ask()
    chain = [running("outer", look), running("inner", look)]

    await request_pipeline(chain, answer, blame).service(request)

    assert owners == ["outer", "inner", "inner", "outer"]
    assert request.exchange.owner == ""


async def test_a_callback_is_blamed_on_the_filter_that_asked(blame: Blame) -> None:
    def fail(_: object) -> None:
        raise KeyError("x")

    async def call(request: Request, inner: Service[Request, Response], /) -> Response:
        response = await inner(request)
        request.exchange.on_end(fail)
        return response

    kit = Kit()
    request = kit.ask()
    chain = [running("call", call), running("inner", through)]

    await request_pipeline(chain, answer, blame).service(request)
    kit.end(request)

    assert [name for name, _ in kit.blamed] == ["call"]


async def test_other_levels_count_calls_and_name_errors(
    blame: Blame, metrics: Metrics
) -> None:
    async def clumsy(number: int, inner: Service[int, str], /) -> str:
        if number:
            raise KeyError("x")
        raise Refused("zero")

    async def passing(number: int, inner: Service[int, str], /) -> str:
        return await inner(number)

    async def serve(number: int, /) -> str:
        return str(number)

    def one(name: str, each: Filter[int, str, int, str]) -> Running[int, str]:
        return Running(Placed(name, Settings()), each, Tally(), lambda: None)

    good, bad = one("good", passing), one("bad", clumsy)

    assert await other_pipeline([good], serve, blame).service(7) == "7"
    for number in (0, 1):
        with pytest.raises((Refused, FilterFailed)) as caught:
            await other_pipeline([good, bad], serve, blame).service(number)
        assert caught.value.by == "bad"
    assert good.tally.calls == 3
    assert bad.tally == Tally(calls=2, errors=1)
    assert failures(metrics) == {("bad", "KeyError"): 1}


async def test_a_dial_filter_that_returns_no_stream_is_told_so(
    blame: Blame, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    async def forgetful(number: int, inner: Service[int, object], /) -> object:
        await inner(number)
        return None

    async def passing(number: int, inner: Service[int, object], /) -> object:
        return await inner(number)

    stream, _ = stream_pair()

    async def dial(number: int, /) -> object:
        return stream

    def one(name: str, each: Filter[int, object, int, object]) -> Running[int, object]:
        return Running(Placed(name, Settings()), each, Tally(), lambda: None)

    good, bad = one("good", passing), one("bad", forgetful)

    pipeline = other_pipeline([good], dial, blame, is_stream)
    assert await pipeline.service(7) is stream
    with pytest.raises(FilterFailed) as caught:
        await other_pipeline([good, bad], dial, blame, is_stream).service(7)
    assert caught.value.by == "bad"
    assert failures(metrics) == {("bad", "TypeError"): 1}
    assert "it returned None and no Stream" in caplog.text


def test_a_filter_closes_behind_its_last_pipeline(blame: Blame) -> None:
    closed: list[str] = []
    shared = running("shared", through, closed)
    alone = running("alone", through, closed)
    old = request_pipeline([shared, alone], answer, blame)
    new = request_pipeline([shared], answer, blame)
    old.adopt()
    new.adopt()

    old.retire()
    assert closed == ["alone"]

    new.retire()
    assert closed == ["alone", "shared"]


def test_a_retired_pipeline_closes_behind_its_last_exchange(blame: Blame) -> None:
    closed: list[str] = []
    pipeline = request_pipeline([running("one", through, closed)], answer, blame)
    pipeline.adopt()
    pipeline.active += 2

    pipeline.retire()
    pipeline.leave()
    assert closed == []

    pipeline.leave()
    assert closed == ["one"]


def test_who_comes_late_does_not_release_filters_twice(blame: Blame) -> None:
    closed: list[str] = []
    shared = running("shared", through, closed)
    old, new = (request_pipeline([shared], answer, blame) for _ in range(2))
    old.adopt()
    new.adopt()
    old.retire()

    old.active += 1
    old.leave()

    assert closed == []


async def test_what_is_counted_holds_the_filters_open(nursery: trio.Nursery) -> None:
    go = trio.Event()
    closed: list[str] = []

    async def wait(number: int, /) -> str:
        await go.wait()
        return str(number)

    async def passing(number: int, inner: Service[int, str], /) -> str:
        return await inner(number)

    one: Running[int, str] = Running(
        Placed("one", Settings()), passing, Tally(), lambda: closed.append("one")
    )
    pipeline: Pipeline[int, str] = other_pipeline([one], wait, Blame(Metrics()))
    pipeline.adopt()
    nursery.start_soon(pipeline.counted, 7)
    await trio.testing.wait_all_tasks_blocked()

    pipeline.retire()
    assert closed == []

    go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert closed == ["one"]


def test_a_pipeline_is_shown(blame: Blame) -> None:
    chain = [running("one", through), running("two", through)]

    assert repr(request_pipeline(chain, answer, blame)) == (
        "<Pipeline one > two: 0 active>"
    )
    assert repr(request_pipeline([], answer, blame)) == (
        "<Pipeline no filters: 0 active>"
    )


def test_tallies_outlive_their_chains_and_become_counters(metrics: Metrics) -> None:
    tallies = Tallies()
    tally = tallies.of("request", "acl")
    tally.calls, tally.seconds, tally.errors = 3, 0.5, 1

    tallies.collect(metrics)

    assert tallies.of("request", "acl") is tally
    assert tallies.of("dial", "acl") is not tally
    counted = {
        name: counter.values["request", "acl"]
        for (name, _), counter in metrics.counters.items()
    }
    assert counted == {
        "tulle_filter_calls_total": 3,
        "tulle_filter_seconds_total": 0.5,
        "tulle_filter_errors_total": 1,
    }


async def test_a_filter_that_forgets_to_return_is_told_so(
    blame: Blame, metrics: Metrics
) -> None:
    async def forgetful(request: Request, inner: object, /) -> Response:
        return None  # type: ignore[return-value]  # the commonest mistake

    with pytest.raises(FilterFailed) as caught:
        await request_pipeline(
            [running("forgetful", forgetful)], answer, blame
        ).service(Kit().ask())

    assert caught.value.by == "forgetful"
    assert "returned None and no Response" in str(caught.value.__cause__)
    assert failures(metrics) == {("forgetful", "TypeError"): 1}
