"""The machine measured on: its cores, and what to say about it."""

from __future__ import annotations

import os
import platform
import resource
from datetime import UTC, datetime
from pathlib import Path

PROXIES, LOAD = 0, 1
"""Which of the cores we may use has what is measured; the other has all else."""


class Unfit(Exception):
    """This machine cannot run the benchmark; says what it would need."""


def cores() -> tuple[int, int]:
    """The core for proxies, and the one for load generator and origin."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise Unfit("needs two cores: one for the proxy, one for the load")
    return allowed[PROXIES], allowed[LOAD]


def prepare() -> int:
    """Move to the load's core, with all the descriptors there are; the proxies' core."""
    proxies, load = cores()
    os.sched_setaffinity(0, {load})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return proxies


def facts() -> dict[str, str]:
    """What a reader of numbers asks about first."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
