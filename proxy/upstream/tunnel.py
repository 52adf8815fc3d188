"""A stream behind a switch of protocols, with the bytes that came before it was one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from meshfilters.stream import Stream

if TYPE_CHECKING:
    from OpenSSL import SSL


class Tunnel:
    """A stream with bytes that came before it was one."""

    def __init__(self, stream: Stream, early: bytes) -> None:
        self._stream = stream
        self._early = early
        self.tls = stream.tls
        self.send_all = stream.send_all
        self.send_eof = stream.send_eof
        self.aclose = stream.aclose

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._early:
            await trio.lowlevel.checkpoint()
            end = len(self._early) if max_bytes is None else max_bytes
            chunk, self._early = self._early[:end], self._early[end:]
            return chunk
        return await self._stream.receive_some(max_bytes)

    async def peek(self, count: int, at_least: int = 1) -> bytes:
        if len(self._early) >= at_least:
            await trio.lowlevel.checkpoint()
            return self._early[:count]
        raise trio.BrokenResourceError("a tunnel can't be peeked past what came early")

    async def start_tls(
        self,
        context: SSL.Context,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> Stream:
        raise trio.BrokenResourceError("TLS can't start behind bytes already read")
