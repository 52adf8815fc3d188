"""What a connection has to send, in one write for each turn of the loop.

However many tasks have queued something on a connection's codec in one turn, the bytes
are taken and sent once, when all of them have run, and without a task: by the worker's
``Readiness`` where the stream is watched by it. Where the socket is full, the edge that
tells of room goes on with it. A stream that can't be written without waiting (a dial
filter's own) has a task for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from meshfilters.stream import Stream
from proxy.transport.readiness import Readiness, Watch

ENDED = (trio.BrokenResourceError, trio.ClosedResourceError)


class Outbox:
    """The sending half of one connection.

    ``take`` gives what can be sent; ``sent`` is called when some of it has left. That
    the peer has gone is not told here: whoever reads the stream learns of it.
    """

    def __init__(
        self, stream: Stream, take: Callable[[], bytes], sent: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._take = take
        self._sent = sent
        watch = getattr(stream, "watch", None)
        self._watch: Watch | None = watch if isinstance(watch, Watch) else None
        self._readiness: Readiness | None = None
        if self._watch is not None:
            self._readiness = self._watch.readiness
            self._send = stream.send_nowait  # type: ignore[attr-defined]  # has a watch
        self._rest: bytes | memoryview = b""
        self._is_due = False
        self._is_broken = False
        self.is_full = False
        """Whether the socket took less than all, and has had no room since."""
        self.resumed = 0
        """How often it had room again."""
        self._is_flushing = False
        self._due = trio.Event()
        self._settled = trio.Event()

    @property
    def needs_task(self) -> bool:
        """Whether ``run`` must be running for anything to be sent."""
        return self._readiness is None

    async def settle(self) -> None:
        """Wait until all that is queued has been sent, or never will be."""
        self.flush()
        while (self._is_due or self._rest) and not self._is_broken:
            self._settled = trio.Event()
            await self._settled.wait()

    def close(self) -> None:
        """Send nothing more: the stream's end is about to be sent."""
        self._break()

    def wake(self) -> None:
        """Something is to be sent, behind the tasks of this turn."""
        if not self._is_due and not self._is_broken:
            self._is_due = True
            if self._readiness is not None:
                self._readiness.soon(self.flush)
            else:
                self._due.set()

    def flush(self) -> None:
        """Send what the socket takes now."""
        if self._readiness is None:
            return
        self._is_due = False
        if self.is_full or self._is_broken:
            return
        self._is_flushing = True
        try:
            if not self._rest or self._send_out(self._rest):
                data = self._take()
                if data:
                    self._send_out(data)
        except ENDED:
            self._break()
        if not self._rest:
            self._settle()
        self._sent()
        self._is_flushing = False

    def _settle(self) -> None:
        if not self._settled.is_set():
            self._settled.set()
            self.woken()

    def _send_out(self, data: bytes | memoryview) -> bool:
        """Send it, if need be in pieces; False if the socket is full before its end."""
        while True:
            sent = self._send(data)
            if sent == len(data):
                self._rest = b""
                return True
            if not sent:
                assert self._watch is not None
                self._rest = data
                self.is_full = True
                self._watch.on_writable = self._resume
                return False
            data = memoryview(data)[sent:]

    def _resume(self) -> None:
        self.is_full = False
        self.resumed += 1
        self.flush()

    def woken(self) -> None:
        """A task was woken; within a flush, trio has to be told."""
        if self._is_flushing and self._readiness is not None:
            self._readiness.nudge()

    def _break(self) -> None:
        self._is_broken = True
        self._rest = b""
        self._settle()

    async def run(self) -> None:
        """Send by waiting, until cancelled or the stream has ended."""
        with suppress(*ENDED):
            while True:
                await self._due.wait()
                self._due = trio.Event()
                self._is_due = False
                while data := self._take():
                    self._rest = data
                    await self._stream.send_all(data)
                    self._rest = b""
                    self._sent()
                self._settle()
        self._break()
