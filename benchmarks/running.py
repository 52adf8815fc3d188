"""What is measured, while it runs: started, found ready, and looked at."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from benchmarks import processes
from benchmarks.loads.load import MIB, Failed, Target
from benchmarks.machine import Cores
from benchmarks.peers import Peer, filled
from benchmarks.ready import answers, wait_ready
from benchmarks.row import Row
from benchmarks.rows import DEFAULT

MILLI = 1000
NOWHERE = Path(os.devnull)


@attrs.frozen
class Subject:
    """A proxy in one of its setups; without a peer it is the origin itself."""

    name: str
    peer: Peer | None
    options: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Running:
    """A subject with its processes."""

    target: Target
    roots: tuple[int, ...]
    first: Mapping[str, float]
    """What was to be seen when it had just started."""

    def cpu_seconds(self) -> float:
        """What all its processes have used up to now."""
        return processes.cpu_seconds(self._pids())

    def _pids(self) -> list[int]:
        return [pid for root in self.roots for pid in processes.family(root)]


@attrs.frozen
class Place:
    """Where everything of a run is."""

    folder: Path
    cores: Cores
    origins: Mapping[str, int]

    @contextmanager
    def running(self, subject: Subject, row: Row) -> Iterator[Running]:
        """Start a subject as a row wants it; it answers when this yields."""
        origin = self.origins.get(row.origin)
        if origin is None:
            raise Failed("needs nghttpd, its origin: apt-get install nghttp2-server")
        if subject.peer is None:
            yield Running(Target(origin, self.folder, lambda: 0), (), {})
            return
        values = self._values(origin, subject.options)
        commands = subject.peer.commands(row.kind, self.folder, values)
        with ExitStack() as stack:
            began = time.monotonic()
            roots = tuple(
                stack.enter_context(
                    processes.started(command, self.cores_of(row), self.output(row))
                )
                for command in commands
            )
            target = Target(int(str(values["port"])), self.folder, _memory_of(roots))
            wait_ready(lambda: answers(row, target))
            first = {"ready": (time.monotonic() - began) * MILLI}
            first["idle"] = target.memory() / MIB
            yield Running(target, roots, first)

    @property
    def log(self) -> Path:
        """Where processes write."""
        return self.folder / "log"

    def cores_of(self, row: Row) -> tuple[int, ...]:
        """Where a row's proxies run."""
        return self.cores.spread if row.is_spread else (self.cores.proxy,)

    def output(self, row: Row) -> Path:
        """Where a row's proxies write."""
        return NOWHERE if row.is_silent else self.log

    def _values(self, origin: int, options: Mapping[str, str]) -> dict[str, object]:
        port, between, admin, behind = free_ports(4)
        values: dict[str, object] = {
            "port": port,
            "between": between,
            "admin": admin,
            "admin_behind": behind,
            "origin": origin,
            "folder": self.folder,
            "workers": 1,
            "request": DEFAULT,
        }
        values["endpoints"] = f'["127.0.0.1:{origin}"]'
        for name, text in options.items():
            values[name] = filled(text, values)
        return values


def _memory_of(roots: tuple[int, ...]) -> Callable[[], int]:
    def memory() -> int:
        return processes.memory(pid for root in roots for pid in processes.family(root))

    return memory


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on; all are held until all are found."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
