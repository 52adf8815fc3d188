"""What a head may be, and what is wrong with bytes that are none."""

from __future__ import annotations

from typing import Protocol


class WireError(Exception):
    """Bytes that are no message; ``status`` is what a client is to be told."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status
        self.method = b""
        """Of the request it was found in, when the line had been read."""


class HeadLimits(Protocol):
    """Bounds of a head; ``proxy.config.model.Http`` has them."""

    @property
    def max_headers(self) -> int: ...
    @property
    def max_head(self) -> int: ...
    @property
    def max_target(self) -> int: ...
