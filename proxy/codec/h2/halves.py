"""On which streams a peer may still send: libraries forget those that are closed.

What comes on a forgotten stream they ignore, for it may have been on its way when this
side reset it. A peer that has ended the stream itself has no such excuse, and its frames
can't be trusted to belong where they say (RFC 9113, 5.1).
"""

from __future__ import annotations

from collections.abc import Collection

from proxy.codec.h2.codec import NO_ERROR, PROTOCOL_ERROR, STREAM_CLOSED, Role

LATE = 1000
"""Streams over on this side and not on the peer's that are remembered: what comes on
them was on its way."""

GAPS = 100
"""Times that a client left out numbers that are remembered."""


class Halves:
    """The peer's halves of one connection's streams."""

    __slots__ = ("_alive", "_gaps", "_is_server", "_newest", "_open")

    def __init__(self, role: Role, alive: Collection[int] = ()) -> None:
        """``alive`` is kept up by the codec: the streams that are not closed."""
        self._alive = alive
        self._is_server = role == "server"
        self._newest = 0
        self._open: dict[int, None] = {}
        self._gaps: list[range] = []

    def opened(self, stream: int) -> None:
        """Of a client: the peer may answer on that stream."""
        self._newest = stream
        self._remember(stream)

    def head(self, stream: int, is_end: int) -> int:
        """HEADERS has come; what is wrong with that, or NO_ERROR."""
        if stream <= self._newest or not self._is_server:
            return self.data(stream, is_end)
        if stream > self._newest + 2 and len(self._gaps) < GAPS:
            self._gaps.append(range(self._newest + 1, stream))
        self._newest = stream
        if not is_end:
            self._remember(stream)
        return NO_ERROR

    def data(self, stream: int, is_end: int) -> int:
        """DATA has come; what is wrong with that, or NO_ERROR."""
        if stream in self._open:
            if is_end:
                del self._open[stream]
        elif 0 < stream <= self._newest:
            is_skipped = any(stream in gap for gap in self._gaps)
            return PROTOCOL_ERROR if is_skipped else STREAM_CLOSED
        return NO_ERROR

    def reset(self, stream: int) -> None:
        """RST_STREAM has come."""
        self._open.pop(stream, None)

    def _remember(self, stream: int) -> None:
        self._open[stream] = None
        if len(self._open) > LATE + 2 * len(self._alive):
            over = [each for each in self._open if each not in self._alive]
            for each in over[: len(over) // 2]:
                if each != stream:
                    del self._open[each]
