"""What was counted, on its way to the agent and into sums."""

from __future__ import annotations

import json

from meshfilters.counters import Metrics
from proxy.ipc.families import Family, add_all, pack, snapshot, unpack


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
    one, two = (
        {"x_total": Family("counter", "x_total", "", ("to",), (), {("a",): [count]})}
        for count in (1, 2)
    )

    total = add_all([one, two])

    assert total["x_total"].series["a",] == [3]
    assert one["x_total"].series["a",] == [1]


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
