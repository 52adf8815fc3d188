"""From what sidecars have counted at two moments to what happened between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

import attrs

from tulle.demo.plan import Edge
from tulle.demo.scrape import Page

Pages = Mapping[str, Page]
"""A page for each sidecar, by its workload."""

QUANTILES = (0.5, 0.95, 0.99)


@attrs.frozen
class Moment:
    """What all sidecars had counted, and when."""

    at: float
    pages: Pages


@attrs.frozen
class Part:
    """One of the services that an edge's requests went to, attempt by attempt."""

    name: str
    per_second: float
    share: float | None
    """Of the edge's attempts."""
    success: float | None
    latency: tuple[float | None, ...]
    """Milliseconds, as that service's own sidecar saw it."""


@attrs.frozen
class Figures:
    """What happened on an edge in a while."""

    name: str
    per_second: float
    before: float | None
    """The share of attempts that succeeded; None where there were none."""
    after: float | None
    """The share of requests that succeeded, whatever it took."""
    retries: float
    latency: tuple[float | None, ...]
    """Milliseconds, by QUANTILES."""
    parts: tuple[Part, ...]
    client: str
    """The identity that the server's sidecar saw proven."""
    server: str
    """The identity that the client's sidecar saw proven."""


@attrs.frozen
class _Between:
    """One sidecar's counters, later less earlier."""

    earlier: Page
    later: Page

    def total(self, name: str, **labels: str | Collection[str]) -> float:
        return self.later.total(name, **labels) - self.earlier.total(name, **labels)

    def latency(self, **labels: str) -> tuple[float | None, ...]:
        name = "response_latency_ms"
        before = self.earlier.buckets(name, **labels)
        after = self.later.buckets(name, **labels)
        counts = {edge: count - before.get(edge, 0) for edge, count in after.items()}
        return tuple(quantile(counts, each) for each in QUANTILES)

    def success(self, name: str, **labels: str | Collection[str]) -> float | None:
        good = self.total(name, classification="success", **labels)
        return _share(good, self.total(name, **labels))


def figures(edge: Edge, earlier: Moment, later: Moment) -> Figures:
    """What happened on an edge between two moments."""
    seconds = later.at - earlier.at
    caller = _Between(earlier.pages[edge.client], later.pages[edge.client])
    asked = {"direction": "outbound", "dst": edge.service}
    tried = {"direction": "outbound", "dst": edge.parts}
    attempts = caller.total("route_actual_request_total", **tried)
    return Figures(
        edge.name,
        caller.total("request_total", **asked) / seconds,
        caller.success("route_actual_response_total", **tried),
        caller.success("response_total", **asked),
        caller.total("tulle_retry_retries_total", **asked) / seconds,
        caller.latency(**asked),
        tuple(_part(each, caller, attempts, earlier, later) for each in edge.parts),
        _proven([later.pages[part] for part in edge.parts], "inbound", "client_id"),
        _proven([later.pages[edge.client]], "outbound", "server_id", dst=edge.service),
    )


def _part(
    name: str, caller: _Between, attempts: float, earlier: Moment, later: Moment
) -> Part:
    tried = {"direction": "outbound", "dst": name}
    own = caller.total("route_actual_request_total", **tried)
    return Part(
        name,
        own / (later.at - earlier.at),
        _share(own, attempts),
        caller.success("route_actual_response_total", **tried),
        _Between(earlier.pages[name], later.pages[name]).latency(direction="inbound"),
    )


def _proven(pages: Collection[Page], direction: str, label: str, **labels: str) -> str:
    found: set[str] = set()
    for page in pages:
        named = {"direction": direction, **labels}
        found.update(page.values("request_total", label, **named))
    return ", ".join(sorted(found))


def quantile(counts: Mapping[float, float], q: float) -> float | None:
    """The value below which the share ``q`` lies; None without observations.

    ``counts`` are cumulative, by their edges in order. Inside a bucket values are taken
    to be spread evenly; beyond the last edge all there is to say is that edge.
    """
    edges = [(0.0, 0.0), *counts.items()]
    rank = q * edges[-1][1]
    if not rank:
        return None
    for (low, below), (high, upto) in pairwise(edges):
        if upto >= rank:
            if high == float("inf"):
                return low
            return low + (high - low) * (rank - below) / (upto - below)
    return None


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
