"""Sets of ports as a command line writes them: ``22,8000-8010``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Range = tuple[int, int]
"""The first and the last port; the same one twice for a single port."""

Ports = tuple[Range, ...]
"""Ascending, without overlaps or neighbours that could be one."""

MULTIPORT = 15
"""Ports that iptables' multiport takes in one rule; a range counts as two."""


def parse_ports(text: str) -> Ports:
    """Read ports and ranges between commas; nothing is no port.

    Raises ValueError with a sentence that says what is expected.
    """
    return merged(_range(each.strip()) for each in text.split(",") if each.strip())


def merged(ranges: Iterable[Range]) -> Ports:
    """Bring ranges in order, and those that touch together."""
    found: list[Range] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return tuple(found)


def written(ports: Ports, *, dash: str = "-", comma: str = ",") -> str:
    """Write ports as a command wants them."""
    return comma.join(
        str(low) if low == high else f"{low}{dash}{high}" for low, high in ports
    )


def grouped(ports: Ports) -> Iterator[Ports]:
    """Cut ports into as many as iptables' multiport takes at a time."""
    group: list[Range] = []
    count = 0
    for each in ports:
        weight = 1 if each[0] == each[1] else 2
        if count + weight > MULTIPORT:
            yield tuple(group)
            group, count = [], 0
        group.append(each)
        count += weight
    if group:
        yield tuple(group)


def _range(text: str) -> Range:
    low, dash, high = text.partition("-")
    first = _port(low.strip())
    last = _port(high.strip()) if dash else first
    if last < first:
        raise ValueError(f"{text} ends before it begins: expected {last}-{first}")
    return first, last


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ValueError(
            f'expected ports from 1 to 65535, like 22,8000-8010; not "{text}"'
        )
    return int(text)
