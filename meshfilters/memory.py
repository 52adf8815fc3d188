"""Streams without a socket, for tests of connection and dial filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
import trio.testing

from meshfilters.stream import Stream, Tls

if TYPE_CHECKING:
    from OpenSSL import SSL


class MemoryStream:
    """One end of a pair made by ``stream_pair``; an unbounded queue each way."""

    def __init__(
        self,
        sender: trio.testing.MemorySendStream,
        receiver: trio.testing.MemoryReceiveStream,
    ) -> None:
        self.tls: Tls | None = None
        self.is_closed = False
        self._sender = sender
        self._receiver = receiver
        self._peeked = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._peeked:
            end = len(self._peeked) if max_bytes is None else max_bytes
            chunk, self._peeked = self._peeked[:end], self._peeked[end:]
            return chunk
        return bytes(await self._receiver.receive_some(max_bytes))

    async def peek(self, count: int, at_least: int = 1) -> bytes:
        while len(self._peeked) < at_least:
            chunk = bytes(await self._receiver.receive_some())
            if not chunk:
                break
            self._peeked += chunk
        return self._peeked[:count]

    async def send_all(self, data: bytes) -> None:
        await self._sender.send_all(data)

    async def send_eof(self) -> None:
        await self._sender.aclose()

    async def start_tls(
        self,
        context: SSL.Context,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> Stream:
        # OpenSSL costs 20 MB: only a test of TLS pays for it.
        from meshfilters.bio import open_tls

        return await open_tls(
            self, context, server_side=server_side, server_name=server_name
        )

    async def aclose(self) -> None:
        self.is_closed = True
        self._sender.close()
        self._receiver.close()


def stream_pair() -> tuple[MemoryStream, MemoryStream]:
    """Two ends; what one sends, the other receives."""
    there_sender, there = trio.testing.memory_stream_one_way_pair()
    back_sender, back = trio.testing.memory_stream_one_way_pair()
    return MemoryStream(there_sender, back), MemoryStream(back_sender, there)
