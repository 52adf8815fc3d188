from __future__ import annotations

import json
from pathlib import Path

from benchmarks.gate import KEPT, YARDSTICK, Verdict, judge, keep, kept
from benchmarks.rows import ROWS
from benchmarks.summary import Line, summarise
from tests.benchmarks.making import measured

RATIOS = {"made": 4.0}


def line(ratio: float) -> Line:
    return summarise(measured({"tulle": [ratio] * 5, "relay": [1.0] * 5}))


class Again:
    """Measures anew: what it finds is written down."""

    def __init__(self, *ratios: float) -> None:
        self._ratios = list(ratios)
        self.times: list[int] = []

    def __call__(self, times: int) -> Line:
        self.times.append(times)
        return line(self._ratios.pop(0))


def test_a_ratio_within_what_is_allowed_is_fine_at_once() -> None:
    again = Again()

    assert judge("made", line(5.1), RATIOS, again).is_fine
    assert again.times == []


def test_a_rise_that_was_noise_is_fine_when_looked_at_longer() -> None:
    again = Again(5.4, 4.1)

    assert judge("made", line(6.0), RATIOS, again).is_fine
    assert again.times == [2, 4]


def test_a_rise_that_stays_fails() -> None:
    verdict = judge("made", line(6.0), RATIOS, Again(6.1, 6.2))

    assert not verdict.is_fine
    assert str(verdict) == "made: 6.20 × relay, kept 4.00: over 5.20"


def test_no_ratio_is_no_pass() -> None:
    failed = summarise(measured({"relay": [1.0]}))

    assert not judge("made", failed, RATIOS, lambda times: failed).is_fine


def test_a_verdict_says_what_was_found() -> None:
    assert str(Verdict("h1", 4.5, 4.0)) == "h1: 4.50 × relay, kept 4.00: fine"
    assert str(Verdict("h1", None, 4.0)).startswith("h1: nothing")


def test_what_is_kept_is_added_to_what_was(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text(json.dumps({"made": 9.0, "other": 2.0}))

    keep([line(4.25)], path)

    assert kept(path) == {"made": 4.25, "other": 2.0}


def test_every_row_that_the_gate_measures_has_its_yardstick() -> None:
    assert all(YARDSTICK.files(row.kind) for row in ROWS if row.is_gated)


def test_every_row_that_the_gate_measures_is_kept() -> None:
    assert {row.name for row in ROWS if row.is_gated} == set(kept(KEPT))
