"""The text formats, with prometheus_client's parsers as the judge."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy.agent.exposition import render, wants_openmetrics
from proxy.ipc.families import Family

AWKWARD = 'quote " back \\ line\nend'

FAMILIES = [
    Family("counter", "b_total", "Bs.", ("x",), (), {("1",): [2], (AWKWARD,): [0.5]}),
    Family("gauge", "c", 'Help with "quotes", \\ and\nlines.', (), (), {(): [-1.25]}),
    Family("counter", "plain_count", "No suffix.", (), (), {(): [3]}),
    Family("histogram", "a_seconds", "As.", ("x",), (0.1, 1), {("y",): [1, 2, 3, 9.5]}),
    Family("counter", "silent_total", "Never counted."),
]


def test_prometheus_reads_every_number() -> None:
    families = {f.name: f for f in parse_text(render(FAMILIES).decode())}

    assert {s.labels["x"]: s.value for s in families["b"].samples} == {
        "1": 2,
        AWKWARD: 0.5,
    }
    assert families["c"].samples[0].value == -1.25
    assert families["c"].documentation == 'Help with "quotes", \\ and\nlines.'
    assert "silent_total" not in families


def test_openmetrics_reads_every_number() -> None:
    page = render(FAMILIES, openmetrics=True).decode()

    families = {f.name: f for f in parse_openmetrics(page)}  # type: ignore[no-untyped-call]  # theirs

    assert {s.labels["x"]: s.value for s in families["b"].samples} == {
        "1": 2,
        AWKWARD: 0.5,
    }
    assert families["plain_count"].samples[0].name == "plain_count_total"
    assert families["c"].documentation == 'Help with "quotes", \\ and\nlines.'


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_histograms_buckets_add_up(openmetrics: bool) -> None:
    page = render(FAMILIES, openmetrics=openmetrics).decode()

    parse = parse_openmetrics if openmetrics else parse_text
    [family] = [f for f in parse(page) if f.name == "a_seconds"]
    samples = {(s.name, s.labels.get("le")): s.value for s in family.samples}

    assert samples == {
        ("a_seconds_bucket", "0.1"): 1,
        ("a_seconds_bucket", "1.0"): 3,
        ("a_seconds_bucket", "+Inf"): 6,
        ("a_seconds_sum", None): 9.5,
        ("a_seconds_count", None): 6,
    }


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", True),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=much", False),
        ("Application/OpenMetrics-Text; version=1.0.0", True),
    ],
)
def test_openmetrics_is_written_to_those_who_prefer_it(
    accept: str, wanted: bool
) -> None:
    assert wants_openmetrics(accept) is wanted
