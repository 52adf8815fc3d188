"""What the system lets us have, and a word when that is little."""

from __future__ import annotations

import functools
import logging
import math
import os
import resource
from pathlib import Path

from proxy.config.model import Config

log = logging.getLogger("tulle.supervisor")

OWN = 64
"""Descriptors of a worker that are not connections."""

MIGRATE = Path("/proc/sys/net/ipv4/tcp_migrate_req")

QUOTA = Path("/sys/fs/cgroup/cpu.max")


@functools.cache
def cores(quota: Path = QUOTA) -> int:
    """The cores we may use: of a container with a share of the machine's, that share."""
    count = len(os.sched_getaffinity(0))
    try:
        share, period = map(int, quota.read_text().split())
    except (OSError, ValueError):
        return count  # no such limit: there is no file, or it says "max"
    return min(count, math.ceil(share / period))


class TooLow(Exception):
    """There are too few descriptors to work at all; one sentence for people."""


def prepare(config: Config) -> None:
    """Raise the limit as far as it goes; it is inherited by the children."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return
    if hard < OWN:
        raise TooLow(f"{hard} file descriptors are too few: raise the limit to {OWN}")
    # The clients' ends; those to upstreams are pooled, and fewer.
    wanted = OWN + sum(each.max_connections for each in config.listeners.values())
    if hard < wanted:
        log.warning(
            "%s file descriptors are fewer than the %s that max_connections may need: "
            "at the limit, accepting waits",
            hard,
            wanted,
        )


def warn_of_shrinking(setting: Path = MIGRATE) -> None:
    """Say so when the kernel resets what is in the middle of its handshake."""
    try:
        is_off = setting.read_text().strip() == "0"
    except OSError:
        is_off = True
    if is_off:
        log.warning(
            "net.ipv4.tcp_migrate_req is 0: connections in their handshake with "
            "a worker that ends are reset"
        )
