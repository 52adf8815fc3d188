"""Tasks beside an exchange end with it, and harm nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest
import trio
import trio.testing

from meshfilters.counters import Metrics
from meshfilters.errors import ClientGone
from meshfilters.exchange import Exchange
from meshfilters.memory import MemoryStream, stream_pair
from meshfilters.testing import Kit
from proxy.chain.pipeline import Blame
from proxy.chain.side_tasks import SideTasks


@attrs.define
class Bench:
    side_tasks: SideTasks
    metrics: Metrics

    @property
    def blamed(self) -> list[object]:
        counter = self.metrics.counters["tulle_filter_failures_total", ()]
        return list(counter.values)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    metrics = Metrics()
    async with trio.open_nursery() as nursery:
        yield Bench(SideTasks(nursery, Blame(metrics)), metrics)
        nursery.cancel_scope.cancel()


def exchange(owner: str = "mirror") -> Exchange:
    made = Kit().ask().exchange
    made.owner = owner
    return made


async def test_a_task_runs_beside_its_exchange(bench: Bench) -> None:
    ran = trio.Event()

    async def task() -> None:
        ran.set()

    side = bench.side_tasks.start(exchange(), task)
    await side.done.wait()

    assert ran.is_set()
    assert not bench.blamed


async def test_the_end_of_an_exchange_cancels_and_joins_its_tasks_alone(
    bench: Bench,
) -> None:
    over, going = exchange(), exchange()
    sides = [bench.side_tasks.start(over, trio.sleep_forever) for _ in range(3)]
    other = bench.side_tasks.start(going, trio.sleep_forever)
    assert len(bench.side_tasks) == 4

    await bench.side_tasks.join(over)

    assert all(side.done.is_set() for side in sides)
    assert not other.done.is_set()
    assert len(bench.side_tasks) == 1
    assert going in bench.side_tasks
    assert over not in bench.side_tasks
    await bench.side_tasks.join(over)


async def test_joining_goes_on_in_a_cancelled_task(bench: Bench) -> None:
    mine = exchange()
    ended: list[str] = []

    async def task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            ended.append("tidied up")

    bench.side_tasks.start(mine, task)
    await trio.testing.wait_all_tasks_blocked()
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.side_tasks.join(mine)

    assert ended == ["tidied up"]


async def test_a_task_that_will_not_end_is_not_waited_for(
    bench: Bench, autojump_clock: trio.testing.MockClock
) -> None:
    mine = exchange()
    released = trio.Event()

    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await released.wait()

    begun = trio.current_time()
    side = bench.side_tasks.start(mine, stubborn)
    await trio.testing.wait_all_tasks_blocked()
    await bench.side_tasks.join(mine)

    assert trio.current_time() - begun == pytest.approx(1)
    assert not side.done.is_set()
    released.set()
    await side.done.wait()


async def test_tasks_are_all_told_before_any_is_waited_for(
    bench: Bench, autojump_clock: trio.testing.MockClock
) -> None:
    mine = exchange()

    async def slow() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)

    for _ in range(4):
        bench.side_tasks.start(mine, slow)
    await trio.testing.wait_all_tasks_blocked()
    begun = trio.current_time()
    await bench.side_tasks.join(mine)

    assert trio.current_time() - begun == pytest.approx(0.5)


async def test_a_task_that_raises_is_counted_against_its_filter(bench: Bench) -> None:
    async def task() -> None:
        raise ValueError("no")

    await bench.side_tasks.start(exchange("mirror"), task).done.wait()

    assert bench.blamed == [("mirror", "ValueError")]


async def test_an_error_of_the_mesh_is_the_exchanges_to_tell(bench: Bench) -> None:
    async def task() -> None:
        raise ClientGone

    await bench.side_tasks.start(exchange(), task).done.wait()

    assert not bench.blamed


async def test_one_task_may_be_stopped_before_its_exchange_ends(bench: Bench) -> None:
    mine = exchange()
    one = bench.side_tasks.start(mine, trio.sleep_forever)
    other = bench.side_tasks.start(mine, trio.sleep_forever)

    await one.stop()
    await one.stop()

    assert one.done.is_set()
    assert not other.done.is_set()


async def test_a_task_of_an_exchange_that_is_over_does_not_outlive_it(
    bench: Bench,
) -> None:
    kit = Kit()
    request = kit.ask()
    kit.end(request)

    side = bench.side_tasks.start(request.exchange, trio.sleep_forever)
    await side.done.wait()

    assert len(bench.side_tasks) == 0


async def test_a_stream_is_closed_in_passing(bench: Bench) -> None:
    near, _ = stream_pair()

    bench.side_tasks.close_soon(near)
    await trio.testing.wait_all_tasks_blocked()

    assert near.is_closed


async def test_a_filters_stream_that_cannot_be_closed_harms_nobody(
    bench: Bench,
) -> None:
    class Broken(MemoryStream):
        async def aclose(self) -> None:
            raise ValueError("no")

    near, _ = stream_pair()
    near.__class__ = Broken
    bench.side_tasks.close_soon(near)
    await trio.testing.wait_all_tasks_blocked()

    assert bench.blamed == [("Broken", "ValueError")]


async def test_what_belongs_to_no_exchange_runs_too(bench: Bench) -> None:
    ran = trio.Event()

    async def task() -> None:
        ran.set()

    bench.side_tasks.start_soon("forward", task)
    await trio.testing.wait_all_tasks_blocked()

    assert ran.is_set()


async def test_a_bug_of_what_belongs_to_no_exchange_harms_nobody(bench: Bench) -> None:
    async def task() -> None:
        raise KeyError("x")

    bench.side_tasks.start_soon("forward", task)
    await trio.testing.wait_all_tasks_blocked()

    assert bench.blamed == [("forward", "KeyError")]
