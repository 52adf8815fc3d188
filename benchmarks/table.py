"""The result on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from benchmarks.figures import Spread
from benchmarks.summary import TULLE, Line


def table(lines: Sequence[Line], versions: Mapping[str, str]) -> Table:
    """A line for each figure of each subject, with Tulle's ratio to it."""
    made = Table(
        title="medians (lowest … highest) of interleaved runs",
        caption="\n".join(f"{name}: {each}" for name, each in versions.items()),
        pad_edge=False,
    )
    made.add_column("row")
    made.add_column("who")
    made.add_column("figure")
    made.add_column("median", justify="right")
    made.add_column("spread", justify="right")
    made.add_column("tulle is", justify="right")
    for line in lines:
        _add(made, line)
        made.add_section()
    return made


def _add(made: Table, line: Line) -> None:
    row = line.name
    for subject, figures in line.figures.items():
        for figure, each in figures.items():
            style = "bold" if subject == TULLE and figure == line.main else None
            made.add_row(
                row,
                subject,
                line.headings[figure],
                number(each.median),
                f"{number(each.low)} … {number(each.high)}",
                _times(line.ratios.get(subject, {}).get(figure)),
                style=style,
            )
            row = ""
    for subject, why in line.failed.items():
        made.add_row(row, subject, f"failed: {why}", style="red")
        row = ""


def _times(ratio: Spread | None) -> str:
    return "" if ratio is None else f"{ratio.median:.2f} ×"


def number(value: float) -> str:
    """Three digits, and no more than a reader can use."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
