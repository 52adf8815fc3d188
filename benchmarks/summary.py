"""What was measured, as it is kept in JSON: medians, spreads and ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from benchmarks.figures import Spread, ratio, spread
from benchmarks.run import Measured

TULLE = "tulle"


@attrs.frozen
class Line:
    """One row's result."""

    name: str
    title: str
    headings: Mapping[str, str]
    """The row's figures; the first is the one to compare."""
    figures: Mapping[str, Mapping[str, Spread]]
    """By subject, then by figure."""
    ratios: Mapping[str, Mapping[str, Spread]]
    """Tulle's figure over a peer's, by peer, then by figure."""
    failed: Mapping[str, str]

    @property
    def main(self) -> str:
        """The figure to compare."""
        return next(iter(self.headings))


def summarise(measured: Measured) -> Line:
    """One row's runs, added up."""
    row = measured.row
    by_subject = {
        subject: {
            figure: spread(series)
            for figure in row.figures
            if (series := measured.series(subject, figure))
        }
        for subject in measured.samples
    }
    seen = [each for each in row.figures if any(each in f for f in by_subject.values())]
    headings = {each: row.heading(each) for each in seen or row.figures}
    ratios = {
        peer: found
        for peer in measured.samples
        if peer != TULLE and (found := _ratios(measured, peer, seen))
    }
    return Line(row.name, row.title, headings, by_subject, ratios, measured.failed)


def _ratios(measured: Measured, peer: str, figures: Sequence[str]) -> dict[str, Spread]:
    found = {
        figure: ratio(measured.series(TULLE, figure), measured.series(peer, figure))
        for figure in figures
        if measured.series(TULLE, figure) and measured.series(peer, figure)
    }
    return {figure: each for figure, each in found.items() if each is not None}


def as_json(
    lines: Sequence[Line], machine: Mapping[str, str], versions: Mapping[str, str]
) -> dict[str, object]:
    """Everything, as JSON has it."""
    return {
        "machine": dict(machine),
        "versions": dict(versions),
        "rows": [attrs.asdict(each) for each in lines],
    }
