from __future__ import annotations

import pytest

from benchmarks.figures import Spread, added, percentile, ratio, spread


def test_a_spread_is_the_median_between_its_extremes() -> None:
    assert spread([5.0, 1.0, 2.0]) == Spread(2.0, 1.0, 5.0, 3)


def test_a_ratio_is_taken_pair_by_pair() -> None:
    """The machine was ten times slower in the second run, for both."""
    assert ratio([2.0, 20.0, 3.0], [1.0, 10.0, 1.0]) == Spread(2.0, 2.0, 3.0, 3)


def test_nothing_is_compared_with_what_is_lost_in_noise() -> None:
    assert ratio([1.0, 1.0], [0.5, -0.1]) is None


def test_runs_without_a_partner_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 1.0], [1.0])


def test_what_is_added_is_taken_run_by_run() -> None:
    assert added([5.0, 9.0], [1.0, 2.0]) == [4.0, 7.0]


@pytest.mark.parametrize(
    ("share", "rank"), [(0.5, 50), (0.99, 99), (0.999, 100), (0.001, 1)]
)
def test_a_percentile_is_the_nearest_rank(share: float, rank: int) -> None:
    samples = [float(each) for each in range(100, 0, -1)]

    assert percentile(samples, share) == rank
