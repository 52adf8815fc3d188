"""Running filters: kept while name and settings stay, closed with what they started."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from random import Random
from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.api import RequestFilter, Service
from meshfilters.counters import Metrics
from meshfilters.env import Env, SpanRecord
from meshfilters.errors import ConfigError
from meshfilters.message import Request, Response
from proxy.chain.filters import Filters
from proxy.chain.pipeline import Blame, Tallies
from proxy.config.model import Placed

built: list[Env] = []
closed: list[str] = []


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    built.clear()
    closed.clear()


@attrs.frozen
class Plain:
    """A filter that remembers being built and closed."""

    size: int = 1

    def build(self, env: Env) -> RequestFilter:
        built.append(env)
        env.on_close(lambda: closed.append(f"{env.filter} {self.size}"))

        async def plain(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            return await inner(request)

        return plain


@attrs.frozen
class Broken:
    """A filter that cannot be built."""

    error: Exception = attrs.field(eq=False)

    def build(self, env: Env) -> RequestFilter:
        env.on_close(lambda: closed.append(env.filter))
        raise self.error


@attrs.frozen
class Starting:
    """A filter whose work is to call."""

    task: Callable[[Env], None] = attrs.field(eq=False)

    def build(self, env: Env) -> RequestFilter:
        self.task(env)
        return Plain().build(env)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def spans() -> list[SpanRecord]:
    return []


@pytest.fixture
def filters(
    nursery: trio.Nursery, metrics: Metrics, spans: list[SpanRecord]
) -> Filters:
    filters = Filters(
        metrics, Tallies(), Blame(metrics), Random(0), spans.append, workers=4
    )
    filters.start(nursery)
    return filters


def failures(metrics: Metrics) -> dict[tuple[str | int, ...], float]:
    return metrics.counter("tulle_filter_failures_total", "", ()).values


def build(filters: Filters, *placed: Placed, where: str = "web") -> list[object]:
    with filters.building():
        return list(filters.running("request", where, "inbound", placed))


async def test_a_filter_with_the_same_settings_keeps_running(filters: Filters) -> None:
    (before,) = build(filters, Placed("plain", Plain(1)))
    (after,) = build(filters, Placed("plain", Plain(1)))

    assert after is before
    assert len(built) == 1


async def test_other_settings_build_it_anew(filters: Filters) -> None:
    (before,) = build(filters, Placed("plain", Plain(1)))
    (after,) = build(filters, Placed("plain", Plain(2)))

    assert after is not before


async def test_two_of_a_name_run_apart_and_keep_their_places(filters: Filters) -> None:
    placed = [Placed("plain", Plain(1)), Placed("plain", Plain(1))]

    first, second = build(filters, *placed)

    assert first is not second
    assert build(filters, *placed) == [first, second]


async def test_listeners_do_not_share_filters(filters: Filters) -> None:
    with filters.building():
        (one,) = filters.running("request", "a", "inbound", [Placed("p", Plain())])
        (two,) = filters.running("request", "b", "inbound", [Placed("p", Plain())])

    assert one is not two


async def test_a_filter_is_told_where_it_stands(filters: Filters) -> None:
    build(filters, Placed("plain", Plain()), where="api")

    (env,) = built
    assert (env.filter, env.listener, env.direction) == ("plain", "api", "inbound")
    assert env.workers == 4


async def test_a_filter_exports_spans(
    filters: Filters, spans: list[SpanRecord]
) -> None:
    build(filters, Placed("plain", Plain()))

    built[0].host.export(("span",))

    assert spans == [("span",)]


async def test_a_failed_build_keeps_what_stands_and_closes_what_was_new(
    filters: Filters, metrics: Metrics
) -> None:
    (before,) = build(filters, Placed("plain", Plain(1)))
    (kept,) = build(filters, Placed("plain", Plain(1)))

    with pytest.raises(ConfigError, match="web: filter broken cannot be built: KeyErr"):
        build(
            filters,
            Placed("plain", Plain(1)),
            Placed("fresh", Plain(2)),
            Placed("broken", Broken(KeyError("x"))),
        )

    assert closed == ["broken", "fresh 2"]
    assert kept is before
    assert build(filters, Placed("plain", Plain(1))) == [before]
    assert failures(metrics) == {("broken", "KeyError"): 1}


@attrs.frozen
class Returning:
    """A filter whose ``build`` returns what it is given."""

    make: Callable[[], object] = attrs.field(eq=False)

    def build(self, env: Env) -> RequestFilter:
        env.on_close(lambda: closed.append(env.filter))
        return cast(RequestFilter, self.make())


def alone(request: Request) -> None:
    """A filter that forgot ``inner``."""


async def promised() -> None:
    """What an async ``build`` returns."""


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: None, r"build returned None; expected an async function of \(req"),
        (lambda: alone, "build returned <function alone .*: too many positional arg"),
        (promised, r"build is async; expected a plain function .* \(request, inner\)"),
    ],
)
async def test_what_no_chain_can_call_is_told_before_there_is_traffic(
    filters: Filters, make: Callable[[], object], reason: str
) -> None:
    with pytest.raises(ConfigError, match=f"web: filter odd cannot be built: {reason}"):
        build(filters, Placed("odd", Returning(make)))

    assert closed == ["odd"]


async def test_a_filter_that_does_not_tell_its_signature_is_taken(
    filters: Filters,
) -> None:
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(dict)

    assert build(filters, Placed("odd", Returning(lambda: dict)))


async def test_a_configuration_error_of_a_filter_is_no_bug(
    filters: Filters, metrics: Metrics
) -> None:
    error = ConfigError("web.pem: no such file")

    with pytest.raises(ConfigError) as caught:
        build(filters, Placed("broken", Broken(error)))

    assert caught.value is error
    assert closed == ["broken"]
    assert not failures(metrics)


async def test_closing_ends_background_work_and_calls_back_once(
    filters: Filters,
) -> None:
    ended = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("work")

    (running,) = build(filters, Placed("s", Starting(lambda env: env.start_soon(work))))
    await wait_all_tasks_blocked()

    filters.close()
    filters.close()
    await wait_all_tasks_blocked()

    assert running
    assert ended == ["work"]
    assert closed == ["s 1"]


async def test_work_closed_before_it_began_never_goes_on(filters: Filters) -> None:
    steps = []

    async def work() -> None:
        steps.append("begun")
        await trio.lowlevel.checkpoint()
        steps.append("went on")

    build(filters, Placed("s", Starting(lambda env: env.start_soon(work))))
    filters.close()
    await wait_all_tasks_blocked()

    assert "went on" not in steps


async def test_a_closed_filter_starts_nothing(filters: Filters) -> None:
    begun = []

    async def work() -> None:
        begun.append("work")

    build(filters, Placed("plain", Plain()))
    filters.close()

    built[0].start_soon(work)
    await wait_all_tasks_blocked()

    assert begun == []


async def test_background_work_that_fails_is_started_again_later_and_later(
    filters: Filters, metrics: Metrics, autojump_clock: MockClock
) -> None:
    begun: list[float] = []

    async def fail() -> None:
        begun.append(trio.current_time())
        if len(begun) < 9:
            raise KeyError("x")

    build(filters, Placed("s", Starting(lambda env: env.start_soon(fail))))
    await trio.sleep(1000)

    waits = [later - sooner for sooner, later in itertools.pairwise(begun)]
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
    assert failures(metrics) == {("s", "KeyError"): 8}


async def test_a_callback_that_fails_does_not_keep_the_next_from_its_turn(
    filters: Filters, metrics: Metrics
) -> None:
    def fail() -> None:
        raise KeyError("x")

    build(filters, Placed("s", Starting(lambda env: env.on_close(fail))))

    filters.close()

    assert closed == ["s 1"]
    assert failures(metrics) == {("s", "KeyError"): 1}
