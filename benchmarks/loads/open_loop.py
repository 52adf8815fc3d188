"""Requests at a fixed rate, each timed from when it was due.

A closed loop sends the next request when the last is answered, and so leaves out just
those moments when everything waits. Here a late answer does not delay what is due, and
what is sent late counts as late.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque

import attrs

from benchmarks.figures import percentile
from benchmarks.loads.load import Done, Failed, Target

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
LAST = b"hello\n"
"""How the origin's answer ends."""
MOST = 500
"""Connections; when all of them wait, what is due is sent late."""
WAIT = 5.0
"""Seconds for the last answers."""
FOR_P999 = 10_000
"""Samples that a p99.9 needs to mean something."""
MICRO = 1e6


@attrs.frozen
class OpenLoop:
    """So many requests a second."""

    rate: int
    connections: int = 32
    """At the start; when all are taken, one more is opened."""

    def __call__(self, target: Target, seconds: int) -> Done:
        run = _Run(target.port, self.connections)
        try:
            latencies = run.all(self.rate, seconds)
        finally:
            run.close()
        return Done(len(latencies), seconds, figures(latencies))


def figures(latencies: list[float]) -> dict[str, float]:
    """The percentiles in µs; p99.9 only of enough samples."""
    shares = {"p50": 0.5, "p99": 0.99}
    if len(latencies) >= FOR_P999:
        shares["p999"] = 0.999
    return {
        name: percentile(latencies, share) * MICRO for name, share in shares.items()
    }


class _Run:
    """The connections: idle ones, and those with a request and when it was due."""

    def __init__(self, port: int, connections: int) -> None:
        self._port = port
        self._idle = deque(self._open() for _ in range(connections))
        self._waiting: dict[socket.socket, float] = {}
        self._latencies: list[float] = []

    def _open(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def all(self, rate: int, seconds: int) -> list[float]:
        clock = time.monotonic
        start = clock()
        for number in range(rate * seconds):
            due = start + number / rate
            while (early := due - clock()) > 0:
                self._receive(early)
            self._send(due)
        while self._waiting:
            self._wait()
        return self._latencies

    def _send(self, due: float) -> None:
        while len(self._waiting) == MOST:
            self._wait()
        # First in, first out: every connection is used in its turn, none goes idle.
        connection = self._idle.popleft() if self._idle else self._open()
        connection.sendall(REQUEST)
        self._waiting[connection] = due

    def _wait(self) -> None:
        before = len(self._waiting)
        self._receive(WAIT)
        if len(self._waiting) == before:
            raise Failed(f"{before} requests had no answer")

    def _receive(self, seconds: float) -> None:
        # select and not epoll, whose timeouts are whole milliseconds.
        ready, _, _ = select.select(list(self._waiting), (), (), seconds)
        now = time.monotonic()
        for connection in ready:
            answer = connection.recv(4096)
            if not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(LAST)):
                raise Failed(f"answered {answer[:40]!r}")
            self._latencies.append(now - self._waiting.pop(connection))
            self._idle.append(connection)

    def close(self) -> None:
        for connection in (*self._idle, *self._waiting):
            connection.close()
