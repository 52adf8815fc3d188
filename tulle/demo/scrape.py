"""A sidecar's metrics, fetched from its admin port and read."""

from __future__ import annotations

import re
from collections.abc import Collection

import attrs
import trio

PATIENCE = 5.0
"""Seconds an admin port may take to answer."""

_SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$"
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


class NoAnswer(Exception):
    """An admin port did not say what was asked."""


@attrs.frozen
class Sample:
    """One line: a series and its number."""

    labels: dict[str, str]
    value: float

    def has(self, wanted: dict[str, str | Collection[str]]) -> bool:
        return all(
            self.labels.get(name) == value
            if isinstance(value, str)
            else self.labels.get(name) in value
            for name, value in wanted.items()
        )


@attrs.frozen
class Page:
    """Everything one sidecar counts, at one moment."""

    samples: dict[str, list[Sample]] = attrs.field(factory=dict)

    def total(self, name: str, **labels: str | Collection[str]) -> float:
        """The sum of the series that have these labels, or one of several values."""
        found = self.samples.get(name, ())
        return sum(each.value for each in found if each.has(labels))

    def buckets(self, name: str, **labels: str | Collection[str]) -> dict[float, float]:
        """How many observations were at most each edge."""
        counts: dict[float, float] = {}
        for each in self.samples.get(f"{name}_bucket", ()):
            if each.has(labels):
                edge = float(each.labels["le"])
                counts[edge] = counts.get(edge, 0) + each.value
        return dict(sorted(counts.items()))

    def values(
        self, name: str, label: str, **labels: str | Collection[str]
    ) -> list[str]:
        """The different values of a label, but the empty one."""
        found = [each for each in self.samples.get(name, ()) if each.has(labels)]
        return sorted({each.labels.get(label, "") for each in found} - {""})


def parse(text: str) -> Page:
    """Read Prometheus' text format. Lines that are none of it are passed over."""
    samples: dict[str, list[Sample]] = {}
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is not None:
            labels = {
                name: _ESCAPED.sub(_unescape, value)
                for name, value in _LABEL.findall(match["labels"] or "")
            }
            sample = Sample(labels, float(match["value"]))
            samples.setdefault(match["name"], []).append(sample)
    return Page(samples)


def _unescape(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


async def fetch(address: str, path: str) -> str:
    """The body of an admin port's page. Raises NoAnswer if there is none, or no 200."""
    host, _, port = address.rpartition(":")
    answer = b""
    with trio.move_on_after(PATIENCE) as patience:
        try:
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                # HTTP/1.0: the answer ends with the connection, and is not chunked.
                await stream.send_all(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                async for chunk in stream:
                    answer += chunk
        except OSError as error:
            raise NoAnswer(f"{address}{path}: {error}") from error
        except trio.BrokenResourceError as error:
            raise NoAnswer(f"{address}{path}: the connection broke") from error
    if patience.cancelled_caught:
        raise NoAnswer(f"{address}{path}: no answer in {PATIENCE:g} s")
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(b" ")[1:2] != [b"200"]:
        said = head.partition(b"\r\n")[0].decode("latin-1")
        raise NoAnswer(f"{address}{path}: {said or 'nothing'}")
    return body.decode()
