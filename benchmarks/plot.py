"""The result as a picture: one group of bars a row, each on a scale of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from benchmarks.summary import TULLE, Line
from benchmarks.table import number

WIDTH, NAMES, VALUES = 760, 90, 70
"""Of the whole, left of the bars for names, right of them for numbers."""
BAR, GAP, HEAD, BETWEEN = 14, 4, 22, 16
"""Heights: a bar, below it, a row's title, between rows."""
OURS, THEIRS = "#0b7285", "#adb5bd"
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#343a40}"
    ".t{font-weight:600}"
    "@media(prefers-color-scheme:dark){text{fill:#dee2e6}}"
)


def svg(lines: Sequence[Line]) -> str:
    """The main figure of every row that has several proxies."""
    shapes, y = [], float(GAP)
    for line in lines:
        if TULLE in line.figures:
            shapes += list(_row(line, y))
            y += HEAD + (BAR + GAP) * len(_bars(line)) + BETWEEN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" '
        f'width="{WIDTH}" height="{y:.0f}" role="img">'
    )
    title = "<title>Tulle beside other proxies; shorter is better</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", *shapes, "</svg>\n"])


def _bars(line: Line) -> list[tuple[str, float]]:
    return [
        (subject, figures[line.main].median)
        for subject, figures in line.figures.items()
        if line.main in figures
    ]


def _row(line: Line, top: float) -> Iterator[str]:
    title = f"{line.title}: {line.headings[line.main]}"
    yield _text(0, top + BAR, title, "t")
    bars = _bars(line)
    most = max((value for _, value in bars), default=0) or 1
    for index, (subject, value) in enumerate(bars):
        y = top + HEAD + index * (BAR + GAP)
        length = max(1.0, value / most * (WIDTH - NAMES - VALUES))
        colour = OURS if subject.split()[0] == TULLE else THEIRS
        yield _text(0, y + BAR - 3, subject)
        yield (
            f'<rect x="{NAMES}" y="{y:.0f}" width="{length:.0f}" '
            f'height="{BAR}" rx="2" fill="{colour}"/>'
        )
        yield _text(NAMES + length + GAP, y + BAR - 3, number(value))


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    klass = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{klass}>{escape(words)}</text>'
