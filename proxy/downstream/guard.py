"""A client that has not shown what it speaks, in front of a service that gets its bytes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from meshfilters.stream import Stream, Tls
from proxy.codec.detect import Kind, detect, settle

if TYPE_CHECKING:
    from OpenSSL import SSL


class Guarded:
    """A stream whose first bytes are still looked at: no request passes unseen.

    Whoever waits out the detection's limit, or sends half a method and waits, is opaque
    from then on, and so is who begins with what is no method. Where a request comes of it
    after all, ``kind`` says so and ``scope`` is cancelled, in which the stream is relayed,
    before the bytes that make it one go on.
    """

    def __init__(self, stream: Stream, first: bytes, scope: trio.CancelScope) -> None:
        self.first = first
        """What the client has sent, until it is known what that is."""
        self.kind: Kind | None = None
        """What came of it if it is a request, and then it went no further."""
        self.has_moved = False
        """Whether the service has got or sent a byte."""
        self._is_settled = False
        self._stream = stream
        self._scope = scope
        self._receive = getattr(stream, "receive_soon", stream.receive_some)
        if first:
            self._move()

    @property
    def tls(self) -> Tls | None:
        return self._stream.tls

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None:
            data = await self._stream.receive_some(max_bytes)
        else:
            data = await self._receive()
        if not self._is_settled and data:
            await self._look(data)
        self._move()
        return data

    async def _look(self, data: bytes) -> None:
        self.first += data
        kind = detect(self.first)
        if kind in (None, "unlikely") and settle(self.first) == "http1":
            kind = "http1"
        if kind in ("http1", "http2"):
            self.kind = kind
            self._scope.cancel()
            await trio.lowlevel.checkpoint()
        elif kind in ("opaque", "tls"):
            self._is_settled = True
            self.first = b""

    def _move(self) -> None:
        self.has_moved = True
        self._scope.deadline = math.inf

    async def peek(self, count: int, at_least: int = 1) -> bytes:
        return await self._stream.peek(count, at_least)

    async def send_all(self, data: bytes) -> None:
        self._move()
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def start_tls(
        self,
        context: SSL.Context,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> Stream:
        return await self._stream.start_tls(
            context, server_side=server_side, server_name=server_name
        )

    async def aclose(self) -> None:
        await self._stream.aclose()
