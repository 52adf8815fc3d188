from __future__ import annotations

import pytest

from benchmarks.machine import Cores, Unfit, cores


def test_one_core_is_not_enough() -> None:
    with pytest.raises(Unfit, match="needs two cores"):
        cores({0})


@pytest.mark.parametrize("allowed", [{2, 5}, {2, 5, 6}])
def test_on_few_cores_every_proxy_has_one(allowed: set[int]) -> None:
    assert cores(allowed) == Cores(proxy=2, load=5, spread=(2,))


def test_on_four_and_more_proxies_may_spread_over_all_but_the_load_s() -> None:
    assert cores({0, 1, 2, 3}) == Cores(proxy=0, load=1, spread=(0, 2, 3))
