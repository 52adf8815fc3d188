"""What every load is given, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

MIB = 1 << 20


class Failed(Exception):
    """A load did not get the answers it should have."""


@attrs.frozen
class Target:
    """Where to send a load."""

    port: int
    folder: Path
    """With the certificates; and room for files of the load's own."""
    memory: Callable[[], int]
    """Bytes of memory that what is measured holds at the moment."""


@attrs.frozen
class Done:
    """What a load got done."""

    units: float
    """Requests, or GiB, or handshakes: whatever the row counts."""
    seconds: float
    figures: Mapping[str, float] = attrs.field(factory=dict)
    """What else it saw."""


Load = Callable[[Target, int], Done]
"""Load a target for that many seconds."""
