"""Waiting for what must come to pass, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 15.0
"""Only a failing test waits so long."""


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
