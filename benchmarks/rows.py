"""What is measured: one row a question that a user has."""

from __future__ import annotations

from benchmarks.loads.h2load import Body, H2Load
from benchmarks.loads.held import Held
from benchmarks.loads.idle import Idle
from benchmarks.loads.open_loop import OpenLoop
from benchmarks.loads.tcp import Download, RoundTrips
from benchmarks.loads.tls import Tls
from benchmarks.loads.watched import Watched
from benchmarks.loads.wrk import Wrk
from benchmarks.row import CALL, GIB, HANDSHAKE, TRIP, Row

SPLIT = "{split: {weights: {v1: 9, v2: 1}}}"
DEFAULT = f"[metrics, trace, timeout, retry, {SPLIT}]"
"""An outbound listener's chain where the file names none, and a split."""


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
        is_gated=True,
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
