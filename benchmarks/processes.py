"""Processes, and what the kernel says they cost."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

STOP = 10.0
"""Seconds a process has to end when told to."""


@contextmanager
def started(command: Sequence[str], cores: Collection[int], log: Path) -> Iterator[int]:
    """Run a command on these cores, its children with it; yields its pid."""
    pinned = ["taskset", "-c", ",".join(map(str, cores)), *command]
    with log.open("ab") as output:
        process = subprocess.Popen(
            pinned, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [(task / "children").read_text().split() for task in tasks]
    except FileNotFoundError:
        return []
    below = [family(int(child)) for each in children for child in each]
    return [pid, *(each for some in below for each in some)]


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system seconds so far, to the nanosecond where /proc has ticks."""
    return sum(time.clock_gettime(_cpu_clock(pid)) for pid in pids)


def _cpu_clock(pid: int) -> int:
    # clock_getcpuclockid(3), which Python does not have: CPUCLOCK_SCHED is 2.
    return (~pid << 3) | 2


def memory(pids: Iterable[int]) -> int:
    """Bytes of memory in use, what the processes share with one another counted once.

    Not the kernel's PSS: a proxy written in Python would share the interpreter with
    this benchmark and look smaller than it is.
    """
    own = 0
    files: dict[str, int] = {}
    for pid in pids:
        anonymous, mapped = _maps(Path(f"/proc/{pid}/smaps").read_text())
        own += anonymous
        for name, size in mapped.items():
            files[name] = max(files.get(name, 0), size)
    return own + sum(files.values())


def _maps(smaps: str) -> tuple[int, dict[str, int]]:
    """Bytes without a file, by PSS; and for each mapped file what is resident of it."""
    own, name, resident = 0, "", 0
    files: dict[str, int] = {}
    for line in smaps.splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_file = len(words) > 5 and words[5].startswith("/")
            name = words[5] if is_file else ""
        elif words[0] == "Rss:":
            resident = int(words[1]) * 1024
        elif words[0] == "Pss:" and not name:
            own += int(words[1]) * 1024
        elif words[0] == "Anonymous:" and name:
            # A file's pages that were written to are the process's own.
            written = int(words[1]) * 1024
            own += written
            files[name] = files.get(name, 0) + resident - written
    return own, files
