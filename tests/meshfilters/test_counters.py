from __future__ import annotations

import pytest

from meshfilters.counters import SERIES_CAP, Counter, Histogram, Metrics


def counter() -> Counter:
    return Counter("a_total", "What it counts.", ("direction", "dst"), ("inbound",))


def histogram() -> Histogram:
    return Histogram("a_seconds", "", ("direction", "dst"), ("inbound",), (1, 2.5, 10))


def test_each_combination_of_labels_is_a_series() -> None:
    counted = counter()
    counted.add(("a",))
    counted.add(("b",), 2.5)
    counted.add(("a",))

    assert counted.values == {("a",): 2, ("b",): 2.5}


def test_a_counter_may_have_no_labels_of_its_own() -> None:
    counted = Counter("a_total", "", ("direction",), ("inbound",))
    counted.add()
    counted.add()

    assert counted.values == {(): 2}


def test_a_series_may_be_kept_and_added_to() -> None:
    counted, observed = counter(), histogram()
    counted.add(("a",))

    counted.series(("a",))[0] += 1
    assert counted.values == {("a",): 2}
    observed.series(("b",))[1] += 1
    assert observed.values == {("b",): [0, 1, 0, 0, 0.0]}


@pytest.mark.parametrize("labels", [("a"), (), ("a", "b"), b"a"])
def test_labels_that_are_not_the_metrics_are_an_error_of_who_adds(
    labels: object,
) -> None:
    counted, observed = counter(), histogram()
    wanted = r"expected a tuple with a value for each label \(dst\), got"

    with pytest.raises(TypeError, match=wanted):
        counted.add(labels)  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(TypeError, match=wanted):
        observed.observe(labels, 1)  # type: ignore[arg-type]  # the same
    assert not counted.values
    assert not observed.values


def test_a_label_too_many_is_told_where_there_are_none() -> None:
    counted = Counter("a_total", "", ("direction",), ("inbound",))

    with pytest.raises(TypeError, match=r"a_total: .* \(none\), got \('x',\)"):
        counted.add(("x",))


@pytest.mark.parametrize(
    ("name", "labels"), [("a total", ()), ("a-b", ()), ("", ()), ("a", ("x y",))]
)
def test_names_that_prometheus_would_not_read_are_refused(
    name: str, labels: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="name: letters, digits and _"):
        Metrics().counter(name, "", labels)
    with pytest.raises(ValueError, match="name: letters, digits and _"):
        Metrics().histogram(name, "", labels)


def test_series_beyond_the_cap_become_one() -> None:
    counted = Counter("a_total", "", ("direction", "dst", "code"), ("inbound",))
    for number in range(SERIES_CAP):
        counted.add((number, "x"))
    counted.add(("beyond", "x"))
    counted.add(("further", "x"), 2)
    counted.add((0, "x"))

    assert counted.values["other", "other"] == 3
    assert counted.values[0, "x"] == 2
    assert len(counted.values) == SERIES_CAP + 1


@pytest.mark.parametrize(
    ("value", "bucket"), [(0, 0), (1, 0), (1.1, 1), (2.5, 1), (10, 2), (10.1, 3)]
)
def test_a_value_falls_in_the_first_bucket_that_holds_it(
    value: float, bucket: int
) -> None:
    observed = histogram()
    observed.observe(("a",), value)

    *counts, total = observed.values[("a",)]
    assert [index for index, count in enumerate(counts) if count] == [bucket]
    assert len(counts) == 4
    assert total == value


def test_a_histogram_keeps_the_sum() -> None:
    observed = histogram()
    for value in (0.5, 2, 20):
        observed.observe(("a",), value)

    assert observed.values == {("a",): [1, 1, 0, 1, 22.5]}


def test_distributions_beyond_the_cap_become_one() -> None:
    observed = histogram()
    for number in range(SERIES_CAP):
        observed.observe((number,), 1)
    observed.observe(("beyond",), 1)
    observed.observe(("further",), 2)
    observed.observe((0,), 1)

    assert observed.values[("other",)] == [1, 1, 0, 0, 3]
    assert observed.values[(0,)] == [2, 0, 0, 0, 2]
    assert len(observed.values) == SERIES_CAP + 1


def test_a_metric_is_made_once_for_its_name_and_fixed_values() -> None:
    metrics = Metrics()
    inbound = metrics.counter("a_total", "", ("direction",), ("inbound",))
    outbound = metrics.counter("a_total", "", ("direction",), ("outbound",))
    slow = metrics.histogram("a_seconds", "", ("direction",), ("inbound",))

    assert metrics.counter("a_total", "", ("direction",), ("inbound",)) is inbound
    assert outbound is not inbound
    assert metrics.histogram("a_seconds", "", ("direction",), ("inbound",)) is slow
    assert metrics.histogram("a_seconds", "", ("direction",)) is not slow
    assert set(metrics.counters.values()) == {inbound, outbound}
