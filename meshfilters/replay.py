"""A request's body that can be sent again.

Chunks are kept as they stream past, never collected ahead. Two rules: one reader
reads at a time, and a new one may start only when the service that had the last has
raised or its response was closed. Over the limit the body goes on and everything kept
is forgotten: it *is spilled*, and no further reader may start.
"""

from __future__ import annotations

from collections import deque

import trio

from meshfilters.message import Body, Headers

CUT = "this try's body was closed"
"""Raised and not b"": a body cut short must not look like a whole one."""


class Replay:
    """Keeps up to ``keep`` bytes of ``source`` for readers to come."""

    __slots__ = ("_is_last", "_kept", "_reader", "_room", "is_spilled", "source")

    def __init__(self, source: Body, keep: int) -> None:
        self.source = source
        self.is_spilled = False
        """Whether bytes are gone that another reader would need."""
        self._kept: list[bytes] = []
        # A body known to be too long is not kept at all. Until its first byte is
        # taken it can still be started again: after a failed connect, say.
        self._room = keep if (source.length or 0) <= keep else 0
        self._reader: _Reader | None = None
        self._is_last = False

    def start(self) -> Body:
        """A body from the first byte on; the reader before it is cut off.

        Closing it leaves the source open for the next.
        """
        assert not self.is_spilled, "what was kept is gone"
        self._reader = _Reader(self, deque(self._kept))
        return self._reader

    def cut(self) -> None:
        """Let the reader have nothing more, from now on: another will be started.

        What still comes in answer to a call of its own is kept for the next.
        """
        self._reader = None

    async def release(self) -> None:
        """Nobody will start again: keep no more, and let closing reach the source."""
        self._is_last = True
        self._spill()
        if self._reader is None:
            await self.source.aclose()

    async def _receive(self, reader: _Reader) -> bytes:
        chunk = await self.source.receive()
        is_late = self._reader is not reader
        if chunk and not self.is_spilled:
            self._room -= len(chunk)
            if self._room < 0 and not is_late:
                self._spill()
            else:
                self._kept.append(chunk)
        if is_late:
            if chunk and self._reader is not None:
                self._reader.again.append(chunk)
            raise trio.ClosedResourceError(CUT)
        return chunk

    async def _close(self, reader: _Reader) -> None:
        if self._reader is reader:
            self._reader = None
            if self._is_last:
                await self.source.aclose()

    def _spill(self) -> None:
        self.is_spilled = True
        self._kept.clear()

    def __repr__(self) -> str:
        if self.is_spilled:
            return "<Replay spilled>"
        kept = sum(map(len, self._kept))
        return f"<Replay {kept} bytes kept, room for {self._room}>"


class _Reader:
    """One attempt's view: what was kept, then the source."""

    __slots__ = ("_replay", "again", "trailers")

    def __init__(self, replay: Replay, kept: deque[bytes]) -> None:
        self.trailers = Headers()
        self.again = kept
        """What is handed out before the source is asked."""
        self._replay = replay

    @property
    def length(self) -> int | None:
        return self._replay.source.length

    async def receive(self) -> bytes:
        replay = self._replay
        if replay._reader is not self:
            raise trio.ClosedResourceError(CUT)
        if self.again:
            return self.again.popleft()
        chunk = await replay._receive(self)
        if not chunk:
            # A copy, so that what an attempt's filters edit stays that attempt's.
            self.trailers = replay.source.trailers.copy()
        return chunk

    async def aclose(self) -> None:
        await self._replay._close(self)
