"""HTTP/2 requests that nobody answers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from benchmarks.loads.load import Done, Failed, Target

HELD = "held"
"""The file in which the origin says how many it has."""
STREAMS = 100
"""On each connection: what proxies grant where they grant least."""
WARM = 1
"""Connections."""
SETTLE = 1.0
"""Seconds for what a proxy frees a moment later."""
PERIOD = "20ms"
"""From one connection to the next: it is not a burst that is looked at."""
PATIENCE = 10.0
POLL = 0.02


@attrs.frozen
class Held:
    """Have requests under way on so many connections, and see what each takes."""

    connections: int

    def __call__(self, target: Target, seconds: int) -> Done:
        start = time.monotonic()
        count = STREAMS * self.connections
        # What the first ones bring along is not theirs alone.
        with _asking(target.port, WARM):
            _settle(target, STREAMS * WARM)
            before = target.memory()
            with _asking(target.port, self.connections):
                _settle(target, STREAMS * WARM + count)
                each = (target.memory() - before) / count
        return Done(count, time.monotonic() - start, {"held": each / 1000})


@contextmanager
def _asking(port: int, connections: int) -> Iterator[None]:
    count = STREAMS * connections
    options = ["-c", str(connections), "-m", str(STREAMS), "-n", str(count)]
    options += ["-r", "1", "--rate-period", PERIOD]
    command = ["h2load", *options, f"http://127.0.0.1:{port}/"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as asking:
        try:
            yield
        finally:
            asking.kill()


def _settle(target: Target, count: int) -> None:
    wait_held(lambda: held(target.folder), count)
    time.sleep(SETTLE)


def held(folder: Path) -> int:
    """How many requests the origin has; none where it is just writing that."""
    return int((folder / HELD).read_text() or 0)


def wait_held(
    look: Callable[[], int],
    count: int,
    patience: float = PATIENCE,
    pause: float = POLL,
) -> None:
    """Until the origin has so many; raises ``Failed`` when they do not come."""
    deadline = time.monotonic() + patience
    while (found := look()) < count:
        if time.monotonic() > deadline:
            raise Failed(f"{found} of {count} requests reached the origin")
        time.sleep(pause)
