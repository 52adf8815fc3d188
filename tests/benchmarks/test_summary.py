from __future__ import annotations

import json

import attrs

from benchmarks.figures import Spread
from benchmarks.summary import as_json, summarise
from tests.benchmarks.making import ROW, measured


def test_each_figure_has_its_median_and_spread() -> None:
    line = summarise(measured({"tulle": [10.0, 30.0, 20.0]}))

    assert line.figures["tulle"]["cost"] == Spread(20, 10, 30, 3)
    assert line.main == "cost"
    assert line.headings["cost"] == "CPU-µs a request"


def test_tulle_is_compared_with_every_peer_but_itself() -> None:
    line = summarise(measured({"tulle": [4.0], "envoy": [2.0], "haproxy": [1.0]}))

    assert {who: each["cost"].median for who, each in line.ratios.items()} == {
        "envoy": 2.0,
        "haproxy": 4.0,
    }


def test_variants_are_compared_with_nobody() -> None:
    assert summarise(measured({"0": [1.0], "1": [2.0]})).ratios == {}


def test_a_figure_that_nobody_has_is_left_out() -> None:
    row = attrs.evolve(ROW, figures=("cost", "p999"))

    assert list(summarise(measured({"tulle": [1.0]}, row)).headings) == ["cost"]


def test_a_figure_missing_in_one_run_is_missing() -> None:
    runs = measured({"tulle": [1.0, 2.0]})
    del runs.samples["tulle"][1]["rate"]

    assert set(summarise(runs).figures["tulle"]) == {"cost"}


def test_a_row_where_everyone_failed_still_has_its_line() -> None:
    runs = measured({})
    runs.failed["tulle"] = "did not start to answer"

    line = summarise(runs)

    assert line.main == "cost"
    assert line.failed == {"tulle": "did not start to answer"}


def test_the_result_is_json() -> None:
    line = summarise(measured({"tulle": [4.0], "haproxy": [2.0]}))

    written = json.loads(json.dumps(as_json([line], {"cpu": "x"}, {"tulle": "1"})))

    assert written["rows"][0]["ratios"]["haproxy"]["cost"]["median"] == 2.0
