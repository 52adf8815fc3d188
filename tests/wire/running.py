"""A proxy as users run it: the command, its processes, its words."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from tests.wire.client import Address
from tests.wire.origin import Origin

BOOT = 10.0
"""Seconds until a listener must take connections."""
STOP = 10.0


@attrs.frozen
class Running:
    """A proxy's process and where it listens."""

    process: subprocess.Popen[bytes]
    addresses: tuple[Address, ...]
    log: Path

    @property
    def workers(self) -> set[int]:
        """The ids of the processes the supervisor has forked."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return {int(child) for child in children.split()}

    def worked(self) -> float:
        """CPU seconds that the processes the supervisor has forked have used so far."""
        # Linux makes the id of a process's clock from the process's (its CPUCLOCK_SCHED).
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.workers)

    def resident(self) -> int:
        """Bytes of memory that all its processes hold."""
        total = 0
        for pid in {self.process.pid, *self.workers}:
            pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
            total += int(pages) * 4096
        return total


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on; all are held until all are found."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def running(
    arguments: Sequence[str], ports: Sequence[int], log: Path
) -> Iterator[Running]:
    """Run ``tulle proxy`` with ``arguments``; it must live, and die silently.

    At the end the workers must be those of the start (none crashed and came back),
    and nothing may have been logged that is a bug's traceback.
    """
    addresses = tuple(("127.0.0.1", port) for port in ports)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tulle", "proxy", *arguments], stderr=errors
        )
    proxy = Running(process, addresses, log)
    try:
        for address in addresses:
            wait_for(address, proxy)
        workers = proxy.workers
        yield proxy
        # One that a test has told to end must have ended well.
        ended = process.poll()
        died = workers - proxy.workers if ended is None else ended
    finally:
        stop(process)
    said = log.read_text()
    assert not died, f"a process of the proxy's died:\n{said}"
    assert "Traceback" not in said, said


@contextmanager
def serving(file: str, origin: Origin, folder: Path) -> Iterator[Address]:
    """A proxy from a configuration with places for its ``port`` and the ``origin``."""
    (port,) = free_ports(1)
    host, behind = origin.address
    (folder / "mesh.yaml").write_text(file.format(port=port, origin=f"{host}:{behind}"))
    arguments = ["-c", str(folder / "mesh.yaml")]
    with running(arguments, [port], folder / "proxy.log") as proxy:
        yield proxy.addresses[0]


def wait_for(address: Address, proxy: Running) -> None:
    deadline = time.monotonic() + BOOT
    while True:
        try:
            socket.create_connection(address).close()
        except ConnectionRefusedError:
            if proxy.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no proxy:\n{proxy.log.read_text()}") from None
            time.sleep(0.02)
        else:
            return


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask, insist, force."""
    for each in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        process.send_signal(each)
        try:
            process.wait(STOP / 2)
        except subprocess.TimeoutExpired:
            continue
        return
