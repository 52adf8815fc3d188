"""Bytes received and not yet consumed."""

from __future__ import annotations

import attrs

from proxy.codec.h1.seen import Seen


@attrs.define(eq=False)
class Reader:
    """Received bytes; those before ``start`` are consumed. ``data`` is empty when all are."""

    data: bytes = b""
    start: int = 0
    checked: int = 0
    """How far ``data``, while it only grows, is known to break no line: a head that
    comes byte by byte must not cost its square."""
    last: bytes = b""
    """The head before, if it was short."""
    seen: Seen | None = None
    """A head that came twice in a row."""

    def feed(self, more: bytes) -> None:
        """Append what was received."""
        if self.start or not self.data:
            self.data = self.data[self.start :] + more if self.data else more
            self.start = self.checked = 0
        else:
            self.data += more

    def take(self, count: int) -> bytes:
        """Consume at most ``count`` bytes."""
        start, data = self.start, self.data
        if start == 0 and count >= len(data):
            self.data = b""
            return data
        piece = data[start : start + count]
        self.skip(len(piece))
        return piece

    def skip(self, count: int) -> None:
        """Consume ``count`` bytes that are known to be here."""
        self.start += count
        if self.start == len(self.data):
            self.data, self.start = b"", 0

    def __len__(self) -> int:
        return len(self.data) - self.start
