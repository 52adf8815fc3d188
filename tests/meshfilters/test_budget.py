from __future__ import annotations

import pytest

from meshfilters.budget import Budget, BudgetSize


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(budget: Budget) -> int:
    """How many retries it grants, one after the other."""
    count = 0
    while budget.withdraw():
        count += 1
    return count


def deposit(budget: Budget, count: int) -> None:
    for _ in range(count):
        budget.deposit()


def test_it_grants_a_share_of_the_requests() -> None:
    budget = Budget(BudgetSize(ratio=0.2, min_per_second=0), Clock())
    deposit(budget, 50)

    assert taken(budget) == 10


def test_it_grants_a_few_without_requests() -> None:
    budget = Budget(BudgetSize(min_per_second=10, window=10), Clock())

    assert taken(budget) == 100


def test_workers_share_what_is_granted_without_requests() -> None:
    budget = Budget(BudgetSize(min_per_second=10, window=10), Clock(), workers=4)

    assert taken(budget) == 25


def test_part_of_a_retry_is_none() -> None:
    budget = Budget(BudgetSize(ratio=0.3, min_per_second=0), Clock())
    deposit(budget, 3)

    assert not budget.withdraw()


def test_tenths_add_up_to_a_whole_retry() -> None:
    budget = Budget(BudgetSize(ratio=0.1, min_per_second=0), Clock())
    deposit(budget, 10)

    assert budget.withdraw()


@pytest.mark.parametrize(("seconds", "left"), [(8.9, 10), (10.0, 0), (1000.0, 0)])
def test_requests_are_forgotten_after_the_window(seconds: float, left: int) -> None:
    clock = Clock()
    budget = Budget(BudgetSize(ratio=0.2, min_per_second=0), clock)
    deposit(budget, 50)
    clock.now += seconds

    assert taken(budget) == left


def test_retries_are_forgotten_after_the_window() -> None:
    clock = Clock()
    budget = Budget(BudgetSize(ratio=0, min_per_second=1, window=10), clock)
    assert taken(budget) == 10
    clock.now += 5
    assert taken(budget) == 0
    clock.now += 5

    assert taken(budget) == 10


def test_requests_of_different_times_are_forgotten_one_after_the_other() -> None:
    clock = Clock()
    budget = Budget(BudgetSize(ratio=0.5, min_per_second=0, window=10), clock)
    for _ in range(10):
        deposit(budget, 2)
        clock.now += 1
    lefts = []
    for _ in range(3):
        lefts.append(budget.left)
        clock.now += 1

    assert lefts == [9, 8, 7]


def test_depositing_turns_the_window_as_well() -> None:
    clock = Clock()
    budget = Budget(BudgetSize(ratio=1, min_per_second=0, window=10), clock)
    for _ in range(30):
        clock.now += 1
        budget.deposit()

    assert budget.left == 10


def test_its_repr_shows_its_state() -> None:
    budget = Budget(BudgetSize(ratio=0.2, min_per_second=1, window=10), Clock())
    deposit(budget, 5)
    budget.withdraw()

    assert repr(budget) == "<Budget 10 left: 1 retries for 5 requests in 10 s>"


@pytest.mark.parametrize(
    "wrong", [{"ratio": -1}, {"min_per_second": -1}, {"window": 0}]
)
def test_sizes_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BudgetSize(**wrong)
