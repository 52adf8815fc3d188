"""No counter goes backwards: not when a worker dies, not when the agent does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from meshfilters.counters import Metrics
from proxy.agent.totals import Families, Family, Totals, add_all, pack, snapshot, unpack


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


def test_a_snapshot_has_counters_and_histograms_with_their_fixed_labels() -> None:
    metrics = Metrics()
    metrics.counter("a_total", "As.", ("direction", "status"), ("in",)).add((200,), 2)
    metrics.counter("a_total", "As.", ("direction", "status"), ("out",)).add((200,))
    histogram = metrics.histogram("b_seconds", "Bs.", ("x",), (), (1.0, 2.0))
    histogram.observe(("y",), 1.5)

    families = snapshot(metrics)

    assert families["a_total"].series == {("in", "200"): [2], ("out", "200"): [1]}
    assert families["b_seconds"].series == {("y",): [0, 1, 0, 1.5]}


def test_a_snapshot_survives_json() -> None:
    metrics = Metrics()
    metrics.counter("a_total", "As.", ("x",)).add(("y",))
    metrics.histogram("b_seconds", "Bs.", ("x",)).observe(("y",), 0.3)
    families = snapshot(metrics)

    received = unpack(json.loads(json.dumps(pack(families))))

    assert pack(received) == pack(families)


def test_a_sum_leaves_what_it_adds_alone() -> None:
    one, two = requests(1), requests(2)

    total = add_all([one, two])

    assert total["requests_total"].series["a",] == [3]
    assert one["requests_total"].series["a",] == [1]


def test_a_metric_that_changed_its_kind_is_the_later_one() -> None:
    old = {"x": Family("counter", "x", "", ("a",), (), {("1",): [5]})}
    new = {"x": Family("gauge", "x", "", ("a",), (), {("1",): [1]})}

    assert add_all([old, new])["x"].series == {("1",): [1]}


def test_a_metric_with_other_labels_inbound_than_outbound_keeps_both() -> None:
    metrics = Metrics()
    metrics.counter("x", "", ("direction", "server"), ("outbound",)).add(("api",), 5)
    metrics.counter("x", "", ("direction", "client"), ("inbound",)).add(("web",), 7)

    family = snapshot(metrics)["x"]

    assert family.labels == ("direction", "server", "client")
    assert family.series == {("outbound", "api", ""): [5], ("inbound", "", "web"): [7]}


def test_a_metric_that_got_a_label_goes_on_from_its_number() -> None:
    old = {"x": Family("counter", "x", "", ("a",), (), {("1",): [5]})}
    new = {"x": Family("counter", "x", "", ("b", "a"), (), {("", "1"): [1]})}

    assert add_all([old, new])["x"].series == {("1", ""): [6]}


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
