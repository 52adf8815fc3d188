"""One HTTP/2 connection, of either role: what it reads, sends, watches and gives up.

One task reads; what it reads wakes the tasks of the streams, and what all of them
answer in a turn is sent at once (``outbox.py``). Two rules:

1. A stream is closed once, by ``on_closed``, however it ended: by both sides, a reset, a
   mistake, or the end of the connection.
2. A peer that is silent is asked with a PING, and given up when it does not answer.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress

import trio

from meshfilters.stream import Stream
from proxy.codec import h2
from proxy.codec.h2.seen import Trailers
from proxy.config.model import Http2
from proxy.transport.deadlines import Deadlines
from proxy.transport.http2.channel import Channel
from proxy.transport.http2.outbox import ENDED, Outbox

FAREWELL = 1.0
"""Seconds that the last words of a connection may take."""

TURN = 0.002
"""Seconds of taking in behind which it is the other connections' turn."""

PING = b"tulle hi"

SHARE = 4
"""What part of its connection's window a single stream may come to have: a window that
is full of streams that nobody reads holds up all others."""


class Multiplexed:
    """The common half of a server's and a client's connection; the codec's receiver."""

    def __init__(
        self,
        stream: Stream,
        codec: h2.Codec,
        deadlines: Deadlines,
        settings: Http2,
    ) -> None:
        self.stream = stream
        self.codec = codec
        self.streams: dict[int, Channel] = {}
        self.blocked: dict[Channel, int] = {}
        """Whose sender waits, and for how few bytes to be queued."""
        self.clock = deadlines.clock
        self._settings = settings
        self.window = settings.stream_window
        """Bytes of one body that may come, at first, before any was consumed."""
        self.widest = max(self.window, settings.connection_window // SHARE)
        """What they may become for a stream that is read as it comes."""
        self._trailers = Trailers()
        self._resets: list[tuple[int, int]] = []
        self._outbox = Outbox(stream, self._take, self._on_sent)
        self.wake: Callable[[], None] = self._outbox.wake
        """Something was queued: send it behind the tasks of this turn."""
        self.flush: Callable[[], None] = self._outbox.flush
        """Send what is queued now."""
        self.woken: Callable[[], None] = self._outbox.woken
        """A task of a stream was rescheduled."""
        self._receive = getattr(stream, "receive_soon", stream.receive_some)
        self._timer = deadlines.timer(self._look)
        self._heard = self.clock()
        self._is_asked = False
        self._reading = trio.CancelScope()
        self._is_finishing = False
        self.is_over = False
        """Whether nothing more can be received; every stream is closed."""
        codec.start()

    # Running

    async def communicate(self, early: bytes = b"") -> None:
        """Read until the connection is over; every stream is closed then.

        ``early`` has been received already. The stream is left to be closed.
        """
        self.wake()
        self._watch_time()
        try:
            if self._outbox.needs_task:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._outbox.run)
                    await self._read(early)
                    nursery.cancel_scope.cancel()
            else:
                await self._read(early)
        finally:
            self._timer.close()
            self._end_all()

    def finish(self) -> None:
        """Read no more: send what is queued, and be over."""
        self._is_finishing = True
        self._reading.cancel()
        self.woken()

    async def _read(self, early: bytes) -> None:
        with suppress(*ENDED):
            with self._reading:
                await self._read_on(early)
            self._end_all()
            if self._is_finishing or self.codec.is_over:
                await self._say_farewell()

    async def _read_on(self, data: bytes) -> None:
        codec, receive, clock = self.codec, self._receive, self.clock
        if not data:
            data = await receive()
            if not data or not self.on_first(data):
                return
            self._heard = clock()
        while data:
            ends = self._heard + TURN
            start, size = 0, len(data)
            while start < size:
                if start and clock() > ends:
                    await trio.lowlevel.checkpoint()
                    ends = clock() + TURN
                stop = codec.stop(data, start)
                codec.receive(data[start:stop])
                start = stop
                if codec.has_output:
                    self.wake()
                if codec.is_over:
                    return
            data = await receive()
            self._heard = clock()

    async def _say_farewell(self) -> None:
        """Send the last words, and read until the peer has taken them and left."""
        with trio.move_on_after(FAREWELL):
            await self._outbox.settle()
            self._outbox.close()
            await self.stream.send_eof()
            while await self._receive():
                pass

    def give_up(self) -> None:
        """Close the stream now: whoever reads it learns that it is over."""
        self._end_all()
        close = getattr(self.stream, "close", None)
        if close is not None:
            close()
        else:
            self.cancel()

    @abstractmethod
    def cancel(self) -> None:
        """End ``communicate`` from outside, where closing the stream would have to wait."""

    def _end_all(self) -> None:
        self.is_over = True
        for stream, channel in list(self.streams.items()):
            if not channel.is_closed:
                self.on_closed(stream, h2.CANCEL, False)

    # Time

    def _watch_time(self) -> None:
        interval = self._settings.ping_interval
        self._timer.set(self._heard + interval if interval is not None else math.inf)

    def _look(self) -> None:
        interval, now = self._settings.ping_interval, self.clock()
        if interval is None:
            return
        if self._heard + interval > now:
            self._is_asked = False
            self._timer.set(self._heard + interval)
        elif not self._is_asked:
            self._is_asked = True
            self.codec.ping(PING)
            self.wake()
            self._timer.set(now + self._settings.ping_timeout)
        else:
            self.on_silence()
            self.give_up()

    def on_silence(self) -> None:
        """The peer has not answered a PING in time, and is given up."""

    def on_first(self, data: bytes) -> bool:
        """The peer's first bytes have come; False if it speaks something else."""
        return True

    # What the codec tells

    @abstractmethod
    def on_head(self, stream: int, fields: h2.Fields, is_end: bool) -> None: ...

    def on_informational(self, stream: int, fields: h2.Fields) -> None:
        """A 1xx: to a client alone."""

    def on_data(self, stream: int, data: bytes, is_end: bool) -> None:
        channel = self.streams.get(stream)
        if channel is not None:
            channel.feed(data, is_end)
        elif data:
            self.consumed(stream, len(data))

    def on_trailers(self, stream: int, fields: h2.Fields) -> None:
        channel = self.streams.get(stream)
        if channel is None:
            return
        try:
            channel.end(self._trailers.read(fields))
        except h2.HeadError as error:
            self.codec.reset(stream, error.code)

    @abstractmethod
    def on_closed(self, stream: int, code: int, is_ours: bool) -> None: ...

    def on_goaway(self, last: int, code: int) -> None:
        """The peer takes no streams above ``last``: a client's business alone."""

    def on_pong(self, payload: bytes) -> None:
        self._is_asked = False

    def on_room(self) -> None:
        self.wake()

    def _take(self) -> bytes:
        data = self.codec.take()
        if self._resets:
            resets, self._resets = self._resets, []
            for stream, code in resets:
                self.codec.reset(stream, code)
            data += self.codec.take()
        return data

    def reset_behind(self, stream: int, code: int) -> None:
        """Reset a stream behind what is queued for it.

        A reset of the codec's overtakes: what it has queued is dropped.
        """
        self._resets.append((stream, code))
        self.wake()

    def _on_sent(self) -> None:
        if self.codec.is_over and not self.is_over:
            # It shows only with the last words; nothing that comes matters any more.
            self._reading.cancel()
            self.woken()
        if self.blocked:
            queued = self.codec.queued
            for channel, down_to in list(self.blocked.items()):
                if queued(channel.id) <= down_to:
                    channel.wake_sender()

    def consumed(self, stream: int, size: int) -> None:
        """The peer may send so many bytes more."""
        codec = self.codec
        codec.consumed(stream, size)
        if codec.has_output:
            self.wake()
