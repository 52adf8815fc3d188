"""A row of the benchmark: one load through each of the proxies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from benchmarks.loads.load import Load


@attrs.frozen
class Unit:
    """What a row counts."""

    cost: str
    rate: str
    scale: float
    """From CPU-seconds to what ``cost`` says."""


REQUEST = Unit("CPU-µs a request", "requests/s", 1e6)
HANDSHAKE = Unit("CPU-µs a handshake and request", "handshakes/s", 1e6)
TRIP = Unit("CPU-µs a round trip", "round trips/s", 1e6)
GIB = Unit("CPU-s a GiB", "GiB/s", 1.0)
CALL = Unit("CPU-µs a call", "calls/s", 1e6)

TITLES = {
    "p50": "p50 added, µs",
    "p99": "p99 added, µs",
    "p999": "p99.9 added, µs",
    "each": "kB a connection",
    "held": "kB a request",
    "ready": "ms until ready",
    "idle": "MiB idle",
    "loaded": "MiB under load",
}


@attrs.frozen
class Row:
    """One load through each of the proxies, set up the same way."""

    name: str
    title: str
    load: Load
    figures: tuple[str, ...] = ("cost", "rate")
    """The first is the one to compare."""
    kind: Literal[
        "http", "tcp", "tls", "mesh", "mesh-h2", "h2", "h2-h1", "h1-h2", "grpc"
    ] = "http"
    unit: Unit = REQUEST
    origin: Literal["web", "send", "echo", "h2", "calls", "mute"] = "web"
    longer: float = 1
    """How many times the usual seconds a run takes."""
    least: int = 1
    """Seconds that a run takes at least."""
    least_of_all: int = 1
    """The same where every row is measured, however long that takes."""
    is_fresh: bool = False
    """Whether every run has processes of its own."""
    is_default: bool = False
    is_quick: bool = False
    is_gated: bool = False
    """Whether it must not become dearer."""
    is_spread: bool = False
    """Whether its proxies have all the cores that the load leaves, if these are enough."""
    is_silent: bool = False
    """Whether what its processes write goes nowhere: the disk is not what is measured."""
    has_direct: bool = False
    """Whether what it takes without a proxy is taken off."""
    variants: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    """Of Tulle alone: the name of each, and what its setup has instead of the default."""

    def at_length(self) -> Row:
        """The row as it is measured with --all."""
        return attrs.evolve(self, least=max(self.least, self.least_of_all))

    def on(self, cores: int) -> Row:
        """The row where proxies that may spread have so many cores."""
        if not self.is_spread:
            return self
        if cores > 1:
            return attrs.evolve(self, title=f"{self.title}, on {cores} cores")
        why = "on one core (requests/s: from four cores on)"
        return attrs.evolve(self, title=f"{self.title}, {why}", figures=("cost",))

    def heading(self, figure: str) -> str:
        """A figure's name, with its unit."""
        own = {"cost": self.unit.cost, "rate": self.unit.rate}
        return own.get(figure) or TITLES[figure]
