"""Counters and histograms: plain numbers in a worker, keyed by tuples of labels.

The worker hands a snapshot to the agent once a second; the agent adds them up and
writes the text format. Nothing here locks or formats: an ``add`` costs 0.1 µs.
"""

from __future__ import annotations

import re
from bisect import bisect_left

import attrs

Labels = tuple[str | int, ...]

SERIES_CAP = 1000
"""Label combinations a metric may have in one worker; further ones become ``other``."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""OpenTelemetry's default buckets for durations."""

_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Counter:
    """A number for each combination of labels that only grows."""

    __slots__ = ("_series", "fixed", "help", "labels", "name")

    def __init__(
        self, name: str, help: str, labels: tuple[str, ...], fixed: Labels
    ) -> None:
        self.name = name
        self.help = help
        self.labels = labels
        self.fixed = fixed
        """Values of the first labels, the same for each series (direction)."""
        self._series: dict[Labels, list[float]] = {}

    @property
    def values(self) -> dict[Labels, float]:
        """Every series with its number."""
        return {key: series[0] for key, series in self._series.items()}

    def add(self, key: Labels = (), amount: float = 1) -> None:
        """Add to the series of ``key``: a value for each label, in their order."""
        series = self._series.get(key) or self.series(key)
        series[0] += amount

    def series(self, key: Labels) -> list[float]:
        """The series of ``key``, a list of its number; keep it to add to it at once."""
        return _series(self, self._series, key, [0])


class Histogram:
    """A distribution for each combination of labels."""

    __slots__ = ("buckets", "fixed", "help", "labels", "name", "values")

    def __init__(
        self,
        name: str,
        help: str,
        labels: tuple[str, ...],
        fixed: Labels,
        buckets: tuple[float, ...],
    ) -> None:
        self.name = name
        self.help = help
        self.labels = labels
        self.fixed = fixed
        self.buckets = buckets
        self.values: dict[Labels, list[float]] = {}
        """A count for each bucket, one for beyond the last, and the sum."""

    def observe(self, key: Labels, value: float) -> None:
        """Count ``value`` in the series of ``key``."""
        series = self.values.get(key) or self.series(key)
        series[bisect_left(self.buckets, value)] += 1
        series[-1] += value

    def series(self, key: Labels) -> list[float]:
        """The series of ``key``, as ``values`` has it; keep it to add to it at once."""
        return _series(self, self.values, key, [0] * (len(self.buckets) + 1) + [0.0])


def _series(
    metric: Counter | Histogram,
    known: dict[Labels, list[float]],
    key: Labels,
    new: list[float],
) -> list[float]:
    if key not in known:
        # One series of another shape would keep the whole page from being written.
        own = metric.labels[len(metric.fixed) :]
        if not _is_tuple_of(len(own), key):
            labels = ", ".join(own) or "none"
            raise TypeError(
                f"{metric.name}: expected a tuple with a value for each label "
                f"({labels}), got {key!r}"
            )
        if len(known) >= SERIES_CAP:
            key = ("other",) * len(key)
    return known.setdefault(key, new)


def _is_tuple_of(count: int, key: object) -> bool:
    # ("reason") is a text, and as easily written as ("reason",).
    return isinstance(key, tuple) and len(key) == count


def _check_names(name: str, labels: tuple[str, ...]) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a metric's name: letters, digits and _")
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise ValueError(
                f"{name}: {label!r} is not a label's name: letters, digits and _"
            )


@attrs.define(eq=False)
class Metrics:
    """Every counter and histogram of one worker."""

    counters: dict[tuple[str, Labels], Counter] = attrs.field(factory=dict)
    histograms: dict[tuple[str, Labels], Histogram] = attrs.field(factory=dict)

    def counter(
        self, name: str, help: str, labels: tuple[str, ...], fixed: Labels = ()
    ) -> Counter:
        """The counter of that name and those fixed values; made at the first call."""
        made = self.counters.get((name, fixed))
        if made is None:
            _check_names(name, labels)
            made = Counter(name, help, labels, fixed)
            self.counters[name, fixed] = made
        return made

    def histogram(
        self,
        name: str,
        help: str,
        labels: tuple[str, ...],
        fixed: Labels = (),
        buckets: tuple[float, ...] = SECONDS,
    ) -> Histogram:
        """The histogram of that name and those fixed values; made at the first call."""
        made = self.histograms.get((name, fixed))
        if made is None:
            _check_names(name, labels)
            made = Histogram(name, help, labels, fixed, buckets)
            self.histograms[name, fixed] = made
        return made
