"""Deadlines fire once, at the last time set, however often they were moved."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from proxy.transport.deadlines import RESOLUTION, Deadlines


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
async def wheel(clock: trio.testing.MockClock) -> AsyncIterator[Deadlines]:
    deadlines = Deadlines(trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        yield deadlines
        nursery.cancel_scope.cancel()


def note(times: list[float]) -> Callable[[], None]:
    return lambda: times.append(trio.current_time())


def about(seconds: float) -> object:
    return pytest.approx(seconds + RESOLUTION / 2, abs=RESOLUTION / 2 + 1e-9)


async def test_a_timer_expires_once_just_behind_its_deadline(
    wheel: Deadlines, clock: object
) -> None:
    fired: list[float] = []
    wheel.timer(note(fired)).set(trio.current_time() + 2.5)
    begun = trio.current_time()

    await trio.sleep(10)

    assert [each - begun for each in fired] == [about(2.5)]


async def test_a_timer_that_is_not_set_never_expires(
    wheel: Deadlines, clock: object
) -> None:
    fired: list[float] = []
    timer = wheel.timer(note(fired))
    timer.set(math.inf)

    await trio.sleep(1000)

    assert not fired


async def test_a_deadline_that_is_moved_counts_where_it_was_moved_last(
    wheel: Deadlines, clock: object
) -> None:
    fired: list[float] = []
    timer = wheel.timer(note(fired))
    begun = trio.current_time()
    for later in range(1, 50):
        timer.set(begun + later)
        await trio.sleep(0.5)

    await trio.sleep(100)

    assert [each - begun for each in fired] == [about(49)]


async def test_moving_a_deadline_on_enters_nothing(
    wheel: Deadlines, clock: object
) -> None:
    timer = wheel.timer(lambda: None)
    for later in range(1, 50):
        timer.set(trio.current_time() + later)

    assert repr(wheel) == "<Deadlines 1 timers in 1 slots>"


async def test_a_deadline_brought_forward_fires_early_and_once(
    wheel: Deadlines, clock: object
) -> None:
    fired: list[float] = []
    timer = wheel.timer(note(fired))
    begun = trio.current_time()
    timer.set(begun + 50)
    await trio.sleep(1)
    timer.set(begun + 3)

    await trio.sleep(100)

    assert [each - begun for each in fired] == [about(3)]


async def test_a_deadline_put_off_by_assignment_is_looked_at_and_let_be(
    wheel: Deadlines, clock: object
) -> None:
    fired: list[float] = []
    timer = wheel.timer(note(fired))
    timer.set(trio.current_time() + 3)
    timer.deadline = math.inf

    await trio.sleep(10)
    assert not fired
    timer.set(trio.current_time() + 1)
    await trio.sleep(10)
    assert len(fired) == 1


async def test_a_closed_timer_never_expires_and_lets_its_owner_go(
    wheel: Deadlines, clock: object
) -> None:
    fired: list[float] = []
    timer = wheel.timer(note(fired))
    timer.set(trio.current_time() + 1)
    timer.close()
    timer.close()

    await trio.sleep(10)
    assert not fired
    assert timer.expire is None

    # Set by a straggler behind its closing.
    timer.set(trio.current_time() + 1)
    await trio.sleep(10)
    assert not fired


async def test_timers_of_one_slot_all_expire_in_the_order_they_were_set(
    wheel: Deadlines, clock: object
) -> None:
    fired: list[int] = []
    deadline = trio.current_time() + 1
    for number in range(1000):
        wheel.timer(lambda number=number: fired.append(number)).set(deadline)  # type: ignore[misc]  # mypy cannot infer a lambda's default
    assert repr(wheel) == "<Deadlines 1000 timers in 1 slots>"

    await trio.sleep(2)

    assert fired == list(range(1000))
    assert repr(wheel) == "<Deadlines 0 timers in 0 slots>"


async def test_a_sooner_timer_wakes_the_wheel(wheel: Deadlines, clock: object) -> None:
    fired: list[float] = []
    begun = trio.current_time()
    wheel.timer(note(fired)).set(begun + 20)
    await trio.sleep(1)
    wheel.timer(note(fired)).set(begun + 4)
    wheel.timer(note(fired)).set(begun + 9)

    await trio.sleep(100)

    assert [each - begun for each in fired] == [about(4), about(9), about(20)]


async def test_a_timer_may_be_set_anew_while_it_expires(
    wheel: Deadlines, clock: object
) -> None:
    fired: list[float] = []

    def expire() -> None:
        note(fired)()
        if len(fired) < 3:
            timer.set(trio.current_time() + 1)

    timer = wheel.timer(expire)
    timer.set(trio.current_time() + 1)

    await trio.sleep(100)

    assert len(fired) == 3


async def test_a_deadline_that_has_passed_expires_at_once(
    wheel: Deadlines, clock: object
) -> None:
    fired: list[float] = []
    await trio.sleep(5)
    begun = trio.current_time()

    wheel.timer(note(fired)).set(begun - 3)
    await trio.testing.wait_all_tasks_blocked()

    assert fired == [begun]


@given(st.floats(min_value=0, max_value=1e9))
def test_no_deadline_lies_behind_its_slot(deadline: float) -> None:
    # Or the wheel would enter it in the same slot again, for ever.
    wheel = Deadlines(lambda: 0.0)

    looked_at = wheel.enter(wheel.timer(lambda: None), deadline)

    assert deadline <= looked_at <= deadline + RESOLUTION


@pytest.mark.parametrize("deadline", [7623.990000000001, 11137.730000000001])
def test_not_even_one_that_decimals_would_round_down(deadline: float) -> None:
    wheel = Deadlines(lambda: 0.0)

    assert wheel.enter(wheel.timer(lambda: None), deadline) >= deadline
