"""Rows that nobody has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.loads.load import Done, Target
from benchmarks.row import Row
from benchmarks.run import Measured


def load(target: Target, seconds: int) -> Done:
    raise AssertionError("nothing is loaded here")


ROW = Row("made", "made up", load)


def measured(costs: Mapping[str, Sequence[float]], row: Row = ROW) -> Measured:
    samples = {
        subject: [{"cost": cost, "rate": 1000 / cost} for cost in series]
        for subject, series in costs.items()
    }
    return Measured(row, samples)
