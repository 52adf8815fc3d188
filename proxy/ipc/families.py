"""What a worker counted, as it goes to the agent: families of series, summed by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs

from meshfilters.counters import Metrics

Kind = Literal["counter", "gauge", "histogram"]
Series = dict[tuple[str, ...], list[float]]


@attrs.define(eq=False)
class Family:
    """One metric with all its series."""

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    series: Series = attrs.field(factory=dict)
    """One number; for a histogram a count a bucket, one beyond the last, the sum."""

    def add(self, other: Family) -> None:
        """Sum the other's series into this one's."""
        for key, numbers in other.series.items():
            mine = self.series.get(key)
            if mine is None:
                self.series[key] = list(numbers)
            else:
                for index, number in enumerate(numbers):
                    mine[index] += number

    def has_kind_of(self, other: Family) -> bool:
        """Whether the two can be summed: an upgrade may have changed a metric."""
        return (self.kind, self.buckets) == (other.kind, other.buckets)

    def widened(self, labels: tuple[str, ...]) -> Family:
        """The same under more labels; one that a series has not got is empty there."""
        if labels == self.labels:
            return self
        places = [
            self.labels.index(each) if each in self.labels else None for each in labels
        ]
        series = {
            tuple("" if place is None else key[place] for place in places): numbers
            for key, numbers in self.series.items()
        }
        return attrs.evolve(self, labels=labels, series=series)


Families = dict[str, Family]


def snapshot(metrics: Metrics) -> Families:
    """A worker's counters and histograms, by name."""
    families: Families = {}
    for counter in metrics.counters.values():
        family = Family("counter", counter.name, counter.help, counter.labels)
        for labels, value in counter.values.items():
            family.series[_key(counter.fixed + labels)] = [value]
        _merge(families, family)
    for histogram in metrics.histograms.values():
        family = Family(
            "histogram",
            histogram.name,
            histogram.help,
            histogram.labels,
            histogram.buckets,
        )
        for labels, numbers in histogram.values.items():
            family.series[_key(histogram.fixed + labels)] = list(numbers)
        _merge(families, family)
    return families


def add_all(snapshots: Iterable[Families]) -> Families:
    """The sum; where a metric is of two kinds, the later one is kept."""
    total: Families = {}
    for families in snapshots:
        for family in families.values():
            _merge(total, family)
    return total


def pack(families: Families) -> list[object]:
    """As JSON values."""
    return [
        [
            *(family.kind, family.name, family.help),
            *(family.labels, family.buckets),
            [[*key, numbers] for key, numbers in family.series.items()],
        ]
        for family in families.values()
    ]


def unpack(values: Iterable[Any]) -> Families:
    """The reverse of ``pack``."""
    families: Families = {}
    for kind, name, text, labels, buckets, rows in values:
        series = {tuple(key): numbers for *key, numbers in rows}
        families[name] = Family(kind, name, text, tuple(labels), tuple(buckets), series)
    return families


def _key(labels: tuple[str | int, ...]) -> tuple[str, ...]:
    return tuple(map(str, labels))


def _merge(families: Families, family: Family) -> None:
    mine = families.get(family.name)
    if mine is None or not mine.has_kind_of(family):
        mine = attrs.evolve(family, series={})
    # A filter may count inbound under other labels than outbound, and a sidecar has it
    # on both sides. To Prometheus an empty label is one that is not there.
    labels = tuple(dict.fromkeys((*mine.labels, *family.labels)))
    mine = families[family.name] = mine.widened(labels)
    mine.add(family.widened(labels))
