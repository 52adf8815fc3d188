"""An HTTP/2 stream as bytes both ways: behind CONNECT, or a WebSocket's (RFC 8441)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from meshfilters.errors import MeshError
from meshfilters.stream import Stream, Tls
from proxy.codec.h2.codec import CANCEL
from proxy.transport.http2.channel import Channel

if TYPE_CHECKING:
    from OpenSSL import SSL


class ChannelStream:
    """A channel as a ``Stream``. Closing it resets the stream if it has not ended."""

    tls: Tls | None = None

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._early = b""
        self._has_ended = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        data, self._early = self._early, b""
        if not data:
            try:
                data = await self._channel.receive()
            except MeshError as error:
                raise trio.BrokenResourceError(str(error)) from error
        if max_bytes is not None and len(data) > max_bytes:
            data, self._early = data[:max_bytes], data[max_bytes:]
        return data

    async def peek(self, count: int, at_least: int = 1) -> bytes:
        while len(self._early) < at_least:
            early, self._early = self._early, b""
            data = await self.receive_some()
            self._early = early + data
            if not data:
                break
        return self._early[:count]

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        try:
            if data:
                await self._channel.send(data)
        except MeshError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._has_ended:
            self._has_ended = True
            try:
                self._channel.queue(b"", is_end=True)
            except MeshError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def start_tls(
        self,
        context: SSL.Context,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> Stream:
        raise trio.BrokenResourceError("TLS is not spoken within an HTTP/2 stream")

    async def aclose(self) -> None:
        channel = self._channel
        channel.discard()
        if not (self._has_ended and channel.is_ended):
            channel.reset(CANCEL)
        await trio.lowlevel.checkpoint()
