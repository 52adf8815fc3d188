"""One HTTP/2 stream as the task of its exchange sees it: a body that comes, one that goes.

What comes is kept until somebody takes it, at most a stream's window of it; taking it
lets the peer send as many bytes more. What goes is queued by the codec; who queues more
than ``HIGH`` bytes waits until most of them have left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from meshfilters.message import EMPTY, Body, Buffered, Headers
from proxy.codec.h2.codec import CANCEL, NO_ERROR, StreamGone
from proxy.transport.readiness import WOKEN

if TYPE_CHECKING:
    from proxy.transport.http2.connection import Multiplexed

AT_A_STRETCH = 4
"""Windows' worth of bytes behind which a stream that is read as it comes gets more."""

HIGH, LOW = 64 * 1024, 16 * 1024
"""Bytes queued above which a sender waits, and down to which."""

NO_TRAILERS = Headers()


class Channel:
    """One stream of a connection. As a ``Body`` it is what the peer sends on it."""

    __slots__ = (
        "_chunks",
        "_is_discarded",
        "_reader",
        "_sender",
        "code",
        "connection",
        "error",
        "id",
        "is_awaited",
        "is_closed",
        "is_ended",
        "is_reset",
        "length",
        "received",
        "trailers",
        "window",
    )

    def __init__(self, connection: Multiplexed, stream: int) -> None:
        self.connection = connection
        self.id = stream
        self.length: int | None = None
        """Of the body that comes, if its head told."""
        self.trailers = NO_TRAILERS
        self.received = 0
        """Bytes of it that have been taken."""
        self.window = connection.window
        """Bytes that the peer may have sent before any of them is taken."""
        self.is_ended = False
        """Whether the peer has sent its last byte, taken or not."""
        self.is_closed = False
        """Whether the stream is over, well or not."""
        self.is_reset = False
        """Whether this side has given it up, closed by now or not."""
        self.code = NO_ERROR
        """What it was reset with."""
        self.error: Exception | None = None
        """What receiving and sending raise from now on."""
        self.is_awaited = False
        """Whether somebody waits for the peer's bytes now."""
        self._chunks: list[bytes] = []
        self._is_discarded = False
        self._reader: trio.lowlevel.Task | None = None
        self._sender: trio.lowlevel.Task | None = None

    # What comes

    def feed(self, data: bytes, is_end: bool) -> None:
        """Called by the connection: bytes have come."""
        if data:
            if self._is_discarded:
                self.connection.consumed(self.id, len(data))
            else:
                self._chunks.append(data)
        if is_end:
            self.is_ended = True
        self._wake_reader()

    def end(self, trailers: Headers) -> None:
        """Called by the connection: the body has ended with fields."""
        self.trailers = trailers
        self.is_ended = True
        self._wake_reader()

    def whole(self) -> Body | None:
        """The body, if all of it is here: it then costs no wait."""
        if not self.is_ended:
            return None
        data = self._take() if self._chunks else b""
        if not data and not self.trailers:
            return EMPTY
        return Buffered(data, self.trailers)

    async def receive(self) -> bytes:
        """The next bytes; ``b""`` at the end. Raises ``error`` when it was broken off."""
        while not self._chunks:
            if self.is_ended:
                return b""
            if self.error is not None:
                raise self.error
            if self._is_discarded:
                raise trio.ClosedResourceError("this body was closed")
            await self._wait()
        return self._take()

    def _take(self) -> bytes:
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.received += len(data)
        self.connection.consumed(self.id, len(data))
        return data

    async def _wait(self) -> None:
        if self._reader is not None:
            raise trio.BusyResourceError("another task is receiving")
        if self.window < self.connection.widest:
            self._widen()
        self._reader = trio.lowlevel.current_task()
        self.is_awaited = True
        try:
            await trio.lowlevel.wait_task_rescheduled(self._abort_read)
        finally:
            self.is_awaited = False

    def _widen(self) -> None:
        """Grant more at once to a stream whose reader waits again and again.

        Each turn of the loop moves a window's worth at most. Whose reader is slower than
        the peer never waits, and what nobody takes stays as little as it was.
        """
        if self.received >= AT_A_STRETCH * self.window:
            self.window = min(2 * self.window, self.connection.widest)
            self.connection.codec.widen(self.id, self.window)
            self.connection.wake()

    def _abort_read(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake_reader(self) -> None:
        task = self._reader
        if task is not None:
            self._reader = None
            trio.lowlevel.reschedule(task, WOKEN)
            self.connection.woken()

    def discard(self) -> bool:
        """Take no more of what comes; True if all of it had come."""
        self._is_discarded = True
        if self._chunks:
            self.connection.consumed(self.id, sum(map(len, self._chunks)))
            self._chunks.clear()
        return self.is_ended

    async def aclose(self) -> None:
        """Want no more of what comes; the peer may go on sending it for nobody."""
        self.discard()

    # What goes

    async def send(self, data: bytes, *, is_end: bool = False) -> None:
        """Queue bytes, and wait while too many are queued. Raises ``error``."""
        self.queue(data, is_end=is_end)
        if self.connection.codec.queued(self.id) > HIGH:
            await self.sent(LOW)

    def queue(self, data: bytes, *, is_end: bool = False) -> None:
        """Queue bytes without waiting. Raises ``error`` if the stream is gone."""
        try:
            self.connection.codec.send(self.id, data, is_end=is_end)
        except StreamGone:
            raise self.gone() from None
        self.connection.wake()

    async def sent(self, down_to: int = 0) -> None:
        """Wait until no more than so many bytes are queued. Raises ``error``."""
        connection = self.connection
        connection.flush()
        while connection.codec.queued(self.id) > down_to:
            if self.error is not None:
                raise self.error
            if self._sender is not None:
                raise trio.BusyResourceError("another task is sending")
            self._sender = trio.lowlevel.current_task()
            connection.blocked[self] = down_to
            await trio.lowlevel.wait_task_rescheduled(self._abort_send)
        if self.error is not None:
            raise self.error

    def _abort_send(self, _: object) -> trio.lowlevel.Abort:
        self._sender = None
        self.connection.blocked.pop(self, None)
        return trio.lowlevel.Abort.SUCCEEDED

    def wake_sender(self) -> None:
        """Called by the connection: what was queued has left, or never will."""
        self.connection.blocked.pop(self, None)
        task = self._sender
        if task is not None:
            self._sender = None
            trio.lowlevel.reschedule(task, WOKEN)
            self.connection.woken()

    # The stream

    def gone(self) -> Exception:
        """What to raise about a stream that is over."""
        return self.error or trio.ClosedResourceError("this stream is over")

    def reset(self, code: int = CANCEL) -> None:
        """End the stream at once, if it is not over."""
        if not (self.is_closed or self.is_reset):
            self.is_reset = True
            self.connection.codec.reset(self.id, code)
            self.connection.wake()

    def reset_behind(self, code: int) -> None:
        """End the stream behind what is queued for it, as far as that may go out."""
        if not (self.is_closed or self.is_reset):
            self.is_reset = True
            self.connection.reset_behind(self.id, code)

    def close(self, code: int, error: Exception | None) -> None:
        """Called by the connection, once: the stream is over."""
        self.is_closed = True
        self.code = code
        self.error = error
        self._wake_reader()
        if self._sender is not None:
            self.wake_sender()

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "half" if self.is_ended else "open"
        return f"<{type(self).__name__} {self.id}: {state}>"
