"""What is measured: one row a question that a user has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from benchmarks.loads.h2load import Body, H2Load
from benchmarks.loads.held import Held
from benchmarks.loads.idle import Idle
from benchmarks.loads.load import Load
from benchmarks.loads.open_loop import OpenLoop
from benchmarks.loads.tcp import Download, RoundTrips
from benchmarks.loads.tls import Tls
from benchmarks.loads.watched import Watched
from benchmarks.loads.wrk import Wrk

SPLIT = "{split: {weights: {v1: 9, v2: 1}}}"
DEFAULT = f"[metrics, trace, timeout, retry, {SPLIT}]"
"""An outbound listener's chain where the file names none, and a split."""


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


def _chain(*filters: str) -> dict[str, str]:
    return {"request": f"[{', '.join(filters)}]"}


def _spread_over(count: int, address: str = "127.{}.{}.{}:<origin>") -> dict[str, str]:
    places = (
        address.format(1 + n // 2**16, n // 250 % 250, 1 + n % 250)
        for n in range(count)
    )
    return {"endpoints": "[" + ", ".join(f'"{each}"' for each in places) + "]"}


PASS = "pass_through:PassThrough"

ROWS = (
    Row(
        "h1",
        "HTTP/1.1, small, 64 connections",
        Wrk(64),
        is_default=True,
        is_quick=True,
        is_gated=True,
    ),
    Row(
        "h1-new",
        "HTTP/1.1, a new connection each",
        Wrk(64, is_new_each=True),
        is_default=True,
        is_gated=True,
    ),
    Row(
        "h2",
        "HTTP/2, small, 4 connections × 32 streams",
        H2Load(4, 32),
        kind="h2",
        origin="h2",
        is_default=True,
        is_quick=True,
        is_gated=True,
    ),
    Row(
        "down-1m",
        "1 MB down, 16 connections",
        Wrk(16, "/1m"),
        longer=0.5,
        is_default=True,
    ),
    Row(
        "tls-new",
        "mTLS handshakes, a request each",
        Tls(is_new_each=True),
        kind="tls",
        unit=HANDSHAKE,
        longer=0.5,
        is_default=True,
        is_gated=True,
    ),
    Row(
        "mesh",
        "mesh pair: outbound, mTLS, inbound",
        Wrk(64),
        kind="mesh",
        is_default=True,
        is_quick=True,
        is_gated=True,
    ),
    Row(
        "mesh-h2",
        "mesh pair, HTTP/2 between the two",
        Wrk(64),
        kind="mesh-h2",
        is_default=True,
    ),
    Row(
        "grpc-mesh",
        "gRPC through the mesh pair, 4 × 32 calls",
        H2Load(4, 32, is_call=True),
        kind="grpc",
        unit=CALL,
        origin="calls",
        longer=0.5,
        is_default=True,
    ),
    Row(
        "tcp",
        "opaque TCP, 1 connection",
        Download(1),
        kind="tcp",
        unit=GIB,
        origin="send",
        longer=0.5,
        is_default=True,
        is_quick=True,
        is_gated=True,
    ),
    Row(
        "h2-stream",
        "1 GiB down, 1 HTTP/2 stream",
        Body("/1g"),
        kind="h2",
        unit=GIB,
        origin="h2",
        longer=0.5,
        is_default=True,
    ),
    Row(
        "latency-200",
        "open loop, 200 requests/s",
        OpenLoop(200),
        ("p50", "p99", "p999"),
        least_of_all=50,
        is_default=True,
        has_direct=True,
    ),
    Row(
        "footprint",
        "start and memory",
        Watched(Wrk(64)),
        ("idle", "loaded", "ready"),
        is_fresh=True,
        longer=0.5,
        is_default=True,
    ),
    Row(
        "h2-16",
        "HTTP/2, small, 16 connections × 1 stream",
        H2Load(16, 1),
        kind="h2",
        origin="h2",
    ),
    Row(
        "h2-h1",
        "HTTP/2 made HTTP/1.1, small, 4 × 32 streams",
        H2Load(4, 32),
        kind="h2-h1",
    ),
    Row(
        "h1-h2",
        "HTTP/1.1 made HTTP/2, small, 64 connections",
        Wrk(64),
        kind="h1-h2",
        origin="h2",
    ),
    Row(
        "h2-memory",
        "2,000 HTTP/2 requests under way",
        Held(20),
        ("held",),
        kind="h2",
        origin="mute",
        longer=2,
        is_fresh=True,
    ),
    Row("h1-16", "HTTP/1.1, small, 16 connections", Wrk(16)),
    Row("h1-1000", "HTTP/1.1, small, 1,000 connections", Wrk(1000)),
    Row("down-10k", "10 kB down, 64 connections", Wrk(64, "/10k")),
    Row("up-10k", "10 kB up, 64 connections", Wrk(64, "/up", body=10_000)),
    Row("up-1m", "1 MB up, 16 connections", Wrk(16, "/up", body=1_000_000)),
    Row("tls", "mTLS towards the client, keep-alive", Tls(), kind="tls"),
    Row(
        "tcp-64",
        "opaque TCP, 64 connections",
        Download(64),
        kind="tcp",
        unit=GIB,
        origin="send",
    ),
    Row(
        "tcp-trips",
        "opaque TCP, 64 bytes there and back",
        RoundTrips(64),
        kind="tcp",
        unit=TRIP,
        origin="echo",
    ),
    Row(
        "latency-2000",
        "open loop, 2,000 requests/s",
        OpenLoop(2000),
        ("p50", "p99", "p999"),
        least=5,
        has_direct=True,
    ),
    Row(
        "idle",
        "5,000 idle connections",
        Idle(5000),
        ("each",),
        is_fresh=True,
    ),
    Row(
        "filters",
        "a chain of so many filters that do nothing",
        Wrk(64),
        variants={str(n): _chain(*[PASS] * n) for n in (0, 1, 5, 10)},
    ),
    Row(
        "built-in",
        "each built-in filter alone",
        Wrk(64),
        variants={
            "none": _chain(),
            **{
                name: _chain(name)
                for name in ("metrics", "trace", "timeout", "retry", "identity")
            },
            "access_log": _chain("access_log"),
            "split": _chain(SPLIT),
            "headers": _chain("{headers: {request: {set: {x-mesh: tulle}}}}"),
        },
        is_silent=True,
    ),
    Row(
        "workers",
        "so many workers",
        Wrk(64),
        is_spread=True,
        variants={str(n): {"workers": str(n)} for n in (1, 2, 4)},
    ),
    Row(
        "endpoints",
        "so many endpoints of the service",
        Wrk(64),
        variants={str(n): _spread_over(n) for n in (1, 10, 100, 1000)},
    ),
)
BY_NAME = {each.name: each for each in ROWS}
