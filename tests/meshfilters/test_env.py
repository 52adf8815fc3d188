from __future__ import annotations

import pytest

from meshfilters.counters import SECONDS
from meshfilters.exchange import Direction
from meshfilters.testing import Kit


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_a_counter_is_named_after_the_filter_and_has_the_direction(
    direction: Direction,
) -> None:
    kit = Kit("fair", direction)
    counter = kit.env.counter("refusals_total", "dst", help="Refused.")

    assert counter.name == "tulle_fair_refusals_total"
    assert counter.help == "Refused."
    assert counter.labels == ("direction", "dst")
    assert counter.fixed == (direction,)


def test_what_no_metric_can_be_named_is_left_out_of_the_word() -> None:
    kit = Kit("rate-limit.v2")

    assert kit.env.counter("a_total").name == "tulle_rate_limit_v2_a_total"


def test_a_bare_name_is_kept() -> None:
    kit = Kit("metrics")

    assert kit.env.counter("request_total", bare=True).name == "request_total"
    assert kit.env.histogram("latency_ms", bare=True).name == "latency_ms"


def test_the_same_counter_is_made_once() -> None:
    env = Kit().env

    assert env.counter("a_total") is env.counter("a_total")
    assert env.counter("a_total") is not env.counter("b_total")


def test_a_histogram_is_named_as_a_counter_is() -> None:
    histogram = Kit("slow", "inbound").env.histogram(
        "wait_seconds", "dst", help="Wait."
    )

    assert histogram.name == "tulle_slow_wait_seconds"
    assert histogram.help == "Wait."
    assert histogram.labels == ("direction", "dst")
    assert histogram.fixed == ("inbound",)
    assert histogram.buckets == SECONDS


def test_a_histogram_may_have_buckets_of_its_own() -> None:
    assert Kit().env.histogram("size_bytes", buckets=(1, 2)).buckets == (1, 2)


def test_decisions_are_counted_by_filter_and_word() -> None:
    kit = Kit("retry")
    kit.env.decide("retried")
    kit.env.decide("retried")
    kit.env.decide("unsafe")

    (counter,) = kit.metrics.counters.values()
    assert counter.name == "tulle_filter_decisions_total"
    assert counter.labels == ("direction", "filter", "decision")
    assert counter.fixed == ("outbound", "retry")
    assert counter.values == {("retried",): 2, ("unsafe",): 1}


async def test_background_work_is_the_hosts() -> None:
    started: list[str] = []

    async def task() -> None:
        started.append("task")

    kit = Kit()
    kit.env.start_soon(task)

    assert kit.background == [task]


def test_what_is_to_be_called_at_the_end_is_the_hosts() -> None:
    kit = Kit()
    closed: list[str] = []
    kit.env.on_close(lambda: closed.append("closed"))
    (callback,) = kit.closing
    callback()

    assert closed == ["closed"]


def test_a_span_is_handed_over() -> None:
    kit = Kit()
    kit.env.export(("span", 1))

    assert kit.spans == [("span", 1)]
