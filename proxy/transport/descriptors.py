"""Descriptors run out: what is given up before a client or a request is."""

from __future__ import annotations

import errno
from collections.abc import Callable

OUT = frozenset({errno.EMFILE, errno.ENFILE})
"""What the kernel says when this process, or the machine, has no more of them."""

Relieve = Callable[[], bool]
"""Closes some of what is open and in nobody's use; False when there is nothing."""


def nothing_unused() -> bool:
    """A ``Relieve`` for who keeps nothing open."""
    return False
