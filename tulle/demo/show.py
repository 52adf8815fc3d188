"""How the figures look: a table for people, lines for logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tulle.demo.figures import Figures, Part
from tulle.demo.plan import TRUST_DOMAIN

BAR = 8
"""Characters of a bar that stands for everything."""
NOTHING = "-"
NARROW = 100
"""Columns below which identities are shown without their trust domain."""

COLUMNS: tuple[tuple[str, int, Literal["left", "right"]], ...] = (
    ("\nedge", 12, "left"),
    ("\nreq/s", 6, "right"),
    ("success\nbefore", 7, "right"),
    ("after\nretries", 7, "right"),
    ("p50\nms", 4, "right"),
    ("p95\nms", 4, "right"),
    ("p99\nms", 4, "right"),
    ("the split as it fell\n(and as wanted)", 20, "left"),
)
"""Heading, least width, side. 80 columns hold all of it."""

Weights = Mapping[str, float]


def screen(
    edges: Sequence[Figures],
    weights: Weights,
    title: str,
    width: int,
    hints: Iterable[str],
) -> RenderableType:
    """Everything the demo shows, for a terminal of ``width`` columns."""
    lines = [Text(f" {each}", style="dim", overflow="fold") for each in hints]
    return Group(
        _table(edges, weights, title), _identities(edges, width), Text(), *lines
    )


def line(when: str, edge: Figures, weights: Weights) -> str:
    """An edge in one line of words, for a program or a log."""
    p50, p95, p99 = (_milliseconds(each, "ms") for each in edge.latency)
    words = [
        when,
        edge.name.replace(" → ", "->"),
        f"rps={edge.per_second:.1f}",
        f"success_before={_percent(edge.before)}",
        f"success_after={_percent(edge.after)}",
        f"retries_per_s={edge.retries:.1f}",
        f"p50={p50} p95={p95} p99={p99}",
    ]
    if len(edge.parts) > 1:
        words += [
            f"{each.name}={_percent(each.share)}/{_percent(weights.get(each.name))}"
            for each in edge.parts
        ]
    names = f"client={edge.client or NOTHING} server={edge.server or NOTHING}"
    return " ".join([*words, names])


def _table(edges: Sequence[Figures], weights: Weights, title: str) -> Table:
    table = Table(
        title=title,
        title_style="bold",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    for name, width, justify in COLUMNS:
        table.add_column(name, justify=justify, no_wrap=True, min_width=width)
    for edge in edges:
        table.add_row(
            Text(edge.name, style="bold"),
            f"{edge.per_second:.1f}",
            _judged(edge.before),
            _judged(edge.after),
            *map(_milliseconds, edge.latency),
            Text(f"{edge.retries:.1f} retries/s" if edge.retries else "", style="dim"),
        )
        if len(edge.parts) > 1:
            for each in edge.parts:
                last = each is edge.parts[-1]
                table.add_row(*_part(each, weights.get(each.name), last))
    return table


def _part(part: Part, wanted: float | None, is_last: bool) -> Iterable[RenderableType]:
    yield f"{' └' if is_last else ' ├'} {part.name}"
    yield f"{part.per_second:.1f}"
    yield _judged(part.success)
    yield ""
    yield from map(_milliseconds, part.latency)
    filled = round(BAR * (part.share or 0))
    # A service that gets anything at all shows.
    filled = max(filled, 1) if part.share else 0
    yield Text.assemble(
        ("█" * filled, "cyan"),
        ("░" * (BAR - filled), "dim"),
        f" {_percent(part.share)}",
        (f" ({_percent(wanted, places=0)})", "dim"),
    )


def _identities(edges: Sequence[Figures], width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 1), header_style="dim")
    domain = "" if width >= NARROW else f" (… is {TRUST_DOMAIN})"
    table.add_column("mutual TLS", no_wrap=True, min_width=13)
    table.add_column("the client proved", overflow="fold")
    table.add_column(f"the server{domain}", overflow="fold")
    for edge in edges:
        names = [
            name if width >= NARROW else name.replace(TRUST_DOMAIN, "…")
            for name in (edge.client, edge.server)
        ]
        table.add_row(
            edge.name, *(Text(each or NOTHING, style="green") for each in names)
        )
    return table


def _judged(share: float | None) -> Text:
    style = "dim" if share is None else "green" if share == 1 else "yellow"
    return Text(_percent(share), style=style)


def _percent(share: float | None, places: int = 1) -> str:
    if share is None:
        return NOTHING
    # All of it is said only of all of it: one failure in a million is not 100.0 %.
    shown = min(share * 100, 100 - 10**-places) if share < 1 else 100
    return f"{shown:.{places}f}%"


def _milliseconds(value: float | None, unit: str = "") -> str:
    if value is None:
        return NOTHING
    return f"{value:.1f}{unit}" if value < 99.95 else f"{value:.0f}{unit}"
