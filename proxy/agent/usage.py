"""What the proxy's processes use, from ``/proc``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from proxy.ipc.families import Families, Family

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def usage(
    supervisor: int, others: Mapping[str, Sequence[int]], proc: Path = PROC
) -> Families:
    """What the supervisor and the other kinds of process use, by their pids.

    CPU seconds are only the supervisor's: the others count their own, because the sum
    must not fall when one of them ends.
    """
    by_kind = ("process",)
    memory = Family("gauge", "process_resident_memory_bytes", "Memory in use.", by_kind)
    files = Family("gauge", "process_open_fds", "Open file descriptors.", by_kind)
    cpu = Family(
        "counter", "process_cpu_seconds_total", "CPU seconds, by process.", by_kind
    )
    start = Family("gauge", "process_start_time_seconds", "When the proxy started.")
    for kind, pids in {"supervisor": [supervisor], **others}.items():
        memory.series[kind,] = [_sum(_resident, pids, proc)]
        files.series[kind,] = [_sum(_descriptors, pids, proc)]
    cpu.series["supervisor",] = [cpu_seconds(supervisor, proc)]
    start.series[()] = [started(supervisor, proc)]
    return {each.name: each for each in (memory, files, cpu, start)}


def cpu_seconds(pid: int, proc: Path = PROC) -> float:
    """User and system time of a process so far."""
    fields = _stat(pid, proc)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def started(pid: int, proc: Path = PROC) -> float:
    """When a process started, in seconds since 1970."""
    for line in (proc / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return int(line.split()[1]) + int(_stat(pid, proc)[19]) / _TICKS
    return 0.0


def _stat(pid: int, proc: Path) -> list[str]:
    # The second field is the command in brackets and may hold blanks and brackets.
    return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _resident(folder: Path) -> int:
    return int((folder / "statm").read_text().split()[1]) * _PAGE


def _descriptors(folder: Path) -> int:
    return len(os.listdir(folder / "fd"))


def _sum(measure: Callable[[Path], int], pids: Sequence[int], proc: Path) -> int:
    total = 0
    for pid in pids:
        try:
            total += measure(proc / str(pid))
        except OSError:
            # It has ended since we were told of it.
            continue
    return total
