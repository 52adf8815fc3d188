"""The machine measured on: its cores, and what to say about it."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import attrs

ENOUGH = 4
"""Cores from which on proxies with several workers have more than one."""


class Unfit(Exception):
    """This machine cannot run the benchmark; says what it would need."""


@attrs.frozen
class Cores:
    """What proxies and load have to themselves."""

    proxy: int
    load: int
    """Of the load generator and the origin."""
    spread: tuple[int, ...]
    """Of proxies with several workers: all but the load's, where there are enough."""


def cores(allowed: Collection[int]) -> Cores:
    """Those we may use, shared out. Raises Unfit."""
    proxy, *others = sorted(allowed)
    if not others:
        raise Unfit("needs two cores: one for the proxy, one for the load")
    load, *spare = others
    are_enough = len(spare) + 2 >= ENOUGH
    return Cores(proxy, load, (proxy, *spare) if are_enough else (proxy,))


def prepare(cores: Cores) -> None:
    """Move to the load's core, with all the descriptors there are."""
    os.sched_setaffinity(0, {cores.load})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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
