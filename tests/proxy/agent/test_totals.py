"""No counter goes backwards: not when a worker dies, not when the agent does."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from proxy.agent.totals import Totals
from proxy.ipc.families import Families, Family


def requests(count: float, *labels: str) -> Families:
    return {
        "requests_total": Family(
            "counter", "requests_total", "", ("to",), (), {("a",): [count]}
        )
    }


def count(totals: Totals) -> float:
    family = totals.sum().get("requests_total")
    return family.series["a",][0] if family else 0


@pytest.fixture
def files() -> Iterator[tuple[int, int]]:
    files = Totals.open_files()
    yield files
    for each in files:
        os.close(each)


def test_a_dead_workers_numbers_stay(files: tuple[int, int]) -> None:
    totals = Totals(files)
    totals.update(1, requests(10))
    totals.update(2, requests(5))

    totals.bury([2])
    totals.update(2, requests(6))

    assert count(totals) == 16


def test_an_agent_that_takes_over_starts_from_what_was_saved(
    files: tuple[int, int],
) -> None:
    totals = Totals(files)
    totals.update(1, requests(10))
    totals.bury([])
    totals.update(2, requests(5))
    totals.save()

    successor = Totals(files)

    assert count(successor) == 15
    successor.update(2, requests(7))
    assert count(successor) == 17


def test_a_worker_that_died_without_an_agent_is_counted_once(
    files: tuple[int, int],
) -> None:
    totals = Totals(files)
    totals.update(1, requests(10))
    totals.save()

    successor = Totals(files)
    successor.bury([])
    successor.bury([])

    assert count(successor) == 10


@pytest.mark.parametrize("keep", [0, 3, 20, 40])
def test_a_write_that_was_cut_short_leaves_the_one_before(
    files: tuple[int, int], keep: int
) -> None:
    totals = Totals(files)
    totals.update(1, requests(1))
    totals.save()
    totals.update(1, requests(2))
    totals.save()
    last = files[0]
    written = os.pread(last, 1000, 0)
    assert keep < len(written)

    os.ftruncate(last, keep)

    assert count(Totals(files)) == 1


def test_a_write_that_was_cut_short_over_a_longer_one_is_seen(
    files: tuple[int, int],
) -> None:
    totals = Totals(files)
    for number in (1, 2):
        totals.update(1, requests(number))
        totals.save()
    os.pwrite(files[0], b"?", 30)

    successor = Totals(files)

    assert count(successor) == 1
    successor.save()
    assert count(Totals(files)) == 1


def test_nothing_saved_is_nothing(files: tuple[int, int]) -> None:
    assert Totals(files).sum() == {}
