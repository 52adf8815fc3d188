"""Metrics as text: Prometheus 0.0.4 and OpenMetrics 1.0."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from proxy.ipc.families import Family

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header names OpenMetrics, and at no lower rank than text."""
    ranks = {"openmetrics": 0.0, "text": 0.0}
    for each in accept.lower().split(","):
        media, *parameters = (part.strip() for part in each.split(";"))
        if media == "application/openmetrics-text":
            ranks["openmetrics"] = max(ranks["openmetrics"], _quality(parameters))
        elif media == "text/plain":
            ranks["text"] = max(ranks["text"], _quality(parameters))
    return ranks["openmetrics"] > 0 and ranks["openmetrics"] >= ranks["text"]


def _quality(parameters: list[str]) -> float:
    for each in parameters:
        if each.startswith("q="):
            try:
                return float(each[2:])
            except ValueError:
                return 0.0
    return 1.0


def render(families: Iterable[Family], *, openmetrics: bool = False) -> bytes:
    """The whole page, families by name."""
    lines: list[str] = []
    for family in sorted(families, key=lambda each: each.name):
        if family.series:
            lines += _family(family, openmetrics)
    if openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode()


def _family(family: Family, openmetrics: bool) -> Iterator[str]:
    name = sample = family.name
    if openmetrics and family.kind == "counter":
        # OpenMetrics names a counter's family without the suffix its samples must have.
        name = name.removesuffix("_total")
        sample = f"{name}_total"
    yield f"# HELP {name} {_escape_help(family.help or name, openmetrics)}"
    yield f"# TYPE {name} {family.kind}"
    for key, numbers in sorted(family.series.items()):
        labels = [
            f'{label}="{_escape(value)}"'
            for label, value in zip(family.labels, key, strict=True)
        ]
        if family.kind == "histogram":
            yield from _histogram(name, labels, family.buckets, numbers)
        else:
            yield f"{sample}{_braced(labels)} {_number(numbers[0])}"


def _histogram(
    name: str, labels: list[str], buckets: tuple[float, ...], numbers: list[float]
) -> Iterator[str]:
    count = 0.0
    edges = [*(str(float(each)) for each in buckets), "+Inf"]
    for edge, number in zip(edges, numbers[:-1], strict=True):
        count += number
        each = _braced([*labels, f'le="{edge}"'])
        yield f"{name}_bucket{each} {_number(count)}"
    yield f"{name}_sum{_braced(labels)} {_number(numbers[-1])}"
    yield f"{name}_count{_braced(labels)} {_number(count)}"


def _braced(labels: list[str]) -> str:
    return "{" + ",".join(labels) + "}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_help(text: str, openmetrics: bool) -> str:
    return _escape(text) if openmetrics else _escape(text).replace('\\"', '"')
