"""The arithmetic: medians with their spread, and ratios taken pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import attrs


@attrs.frozen
class Spread:
    """What several runs of one thing gave."""

    median: float
    low: float
    high: float
    runs: int


def spread(samples: Sequence[float]) -> Spread:
    """The median of at least one sample, and its extremes."""
    return Spread(median(samples), min(samples), max(samples), len(samples))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread | None:
    """Ours over theirs, run by run: what slowed the machine then slowed both.

    Both have the same length. None where theirs is not always above nothing: a latency
    that a proxy adds may be lost in the noise, and over that everything is large.
    """
    if not all(each > 0 for each in theirs):
        return None
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def added(ours: Sequence[float], direct: Sequence[float]) -> list[float]:
    """Ours less what was there without a proxy, run by run."""
    return [a - b for a, b in zip(ours, direct, strict=True)]


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample that ``share`` of all are not above (nearest rank)."""
    ordered = sorted(samples)
    rank = -(-len(ordered) * share // 1)
    return ordered[max(0, int(rank) - 1)]
