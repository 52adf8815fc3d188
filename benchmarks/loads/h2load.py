"""HTTP/2 with prior knowledge, by h2load and nghttp of nghttp2."""

from __future__ import annotations

import re
import struct
import subprocess

import attrs

from benchmarks.loads.load import Done, Failed, Target

TOLERATED = 1e-3
"""Failures a request: more of them, and it is not this load that was measured."""
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
PATIENCE = 60.0
"""Seconds for what has an end of its own."""
METHOD = "/bench.Echo/Call"
"""Of gRPC: a service, and what it can do."""
MESSAGE = struct.pack(">BL", 0, 100) + b"x" * 100
"""As gRPC frames it: not compressed, so many bytes."""


@attrs.frozen
class H2Load:
    """Requests on so many connections: GET, or a gRPC call of one message."""

    connections: int
    streams: int
    """On each connection, at any time."""
    is_call: bool = False

    def __call__(self, target: Target, seconds: int) -> Done:
        options = ["-c", str(self.connections), "-m", str(self.streams)]
        options += ["-D", str(seconds), *request(target, self.is_call)]
        return parse(_said(options, PATIENCE + seconds))


@attrs.frozen
class Body:
    """Take one long body, however long that takes; a unit is one of them."""

    path: str

    def __call__(self, target: Target, seconds: int) -> Done:
        return parse(_said(["-n", "1", _url(target, self.path)], PATIENCE))


def request(target: Target, is_call: bool) -> list[str]:
    """What to ask, in the words of h2load and of nghttp."""
    if not is_call:
        return [_url(target, "/")]
    message = target.folder / "message"
    message.write_bytes(MESSAGE)
    headers = ("-H", "content-type: application/grpc", "-H", "te: trailers")
    return [*headers, "-d", str(message), _url(target, METHOD)]


def _url(target: Target, path: str) -> str:
    return f"http://127.0.0.1:{target.port}{path}"


def _said(options: list[str], timeout: float) -> str:
    try:
        done = subprocess.run(
            ["h2load", *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"no end after {timeout:.0f} s") from error
    return done.stdout


def parse(output: str) -> Done:
    """The requests and seconds in h2load's words; raises ``Failed`` over errors.

    What was answered with 4xx or 5xx has failed, too.
    """
    took = re.search(r"finished in ([\d.]+)([a-z]+),", output)
    counted = re.search(r"requests: .* (\d+) succeeded, (\d+) failed", output)
    if not (took and counted):
        raise Failed("h2load said nothing of requests")
    requests, errors = map(int, counted.groups())
    if requests == 0 or errors > TOLERATED * requests:
        raise Failed(f"{errors} errors beside {requests} requests")
    return Done(requests, float(took.group(1)) * UNITS[took.group(2)])
