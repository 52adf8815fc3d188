"""Connections that are kept and do nothing."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import attrs

from benchmarks.loads.load import Done, Failed, Target
from benchmarks.loads.open_loop import REQUEST

WARM = 64
SETTLE = 1.0
"""Seconds for what a proxy frees a moment later."""


@attrs.frozen
class Idle:
    """Keep connections that had one request each, and see what each holds."""

    connections: int

    def __call__(self, target: Target, seconds: int) -> Done:
        start = time.monotonic()
        with ExitStack() as kept:
            # What the first ones bring along is not theirs alone.
            for _ in range(WARM):
                kept.enter_context(_asked(target.port))
            time.sleep(SETTLE)
            before = target.memory()
            for _ in range(self.connections):
                kept.enter_context(_asked(target.port))
            time.sleep(SETTLE)
            each = (target.memory() - before) / self.connections
        return Done(self.connections, time.monotonic() - start, {"each": each / 1000})


def _asked(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port))
    made.sendall(REQUEST)
    if not made.recv(4096).startswith(b"HTTP/1.1 200"):
        raise Failed("a request on a connection to be kept failed")
    return made
