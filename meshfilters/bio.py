"""TLS over any stream, through OpenSSL's memory buffers.

For streams without a descriptor: memory streams in tests, TLS inside TLS. A socket has
it cheaper in ``proxy.transport.tls_stream``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

import trio
from OpenSSL import SSL

from meshfilters import openssl
from meshfilters.stream import Stream, Tls

T = TypeVar("T")

LARGEST = 64 * 1024


async def open_tls(
    under: Stream, context: SSL.Context, *, server_side: bool, server_name: str | None
) -> BioStream:
    """Do the handshake over ``under``, which belongs to the result from then on."""
    connection = openssl.connection(
        context, None, server_side=server_side, server_name=server_name
    )
    stream = BioStream(under, connection)
    await stream.handshake()
    return stream


class BioStream:
    """A ``Stream`` inside another one's bytes."""

    def __init__(self, under: Stream, connection: SSL.Connection) -> None:
        self.tls: Tls | None = None
        self._under = under
        self._connection = connection
        self._peeked = b""
        self._flushing = trio.Lock()

    async def handshake(self) -> None:
        """Raises HandshakeBroken, after the alert has gone out."""
        try:
            await self._drive(self._connection.do_handshake)
        except (SSL.Error, openssl.NoProtocol) as error:
            # The peer may be gone already; what broke the handshake came before that.
            with contextlib.suppress(trio.BrokenResourceError):
                await self._flush()
            raise openssl.broken(self._connection, error) from error
        await self._flush()
        self.tls = openssl.facts(self._connection)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._peeked:
            end = len(self._peeked) if max_bytes is None else max_bytes
            chunk, self._peeked = self._peeked[:end], self._peeked[end:]
            return chunk
        return await self._receive(LARGEST if max_bytes is None else max_bytes)

    async def peek(self, count: int, at_least: int = 1) -> bytes:
        while len(self._peeked) < at_least:
            chunk = await self._receive(LARGEST)
            if not chunk:
                break
            self._peeked += chunk
        return self._peeked[:count]

    async def send_all(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._connection.send(rest) :]
        except SSL.Error as error:
            raise trio.BrokenResourceError(openssl.describe(error)) from error
        await self._flush()

    async def send_eof(self) -> None:
        self._connection.shutdown()
        await self._flush()

    async def start_tls(
        self,
        context: SSL.Context,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> Stream:
        return await open_tls(
            self, context, server_side=server_side, server_name=server_name
        )

    async def aclose(self) -> None:
        await self._under.aclose()

    async def _receive(self, size: int) -> bytes:
        try:
            return await self._drive(lambda: self._connection.recv(size))
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise trio.BrokenResourceError(openssl.describe(error)) from error

    async def _drive(self, step: Callable[[], T]) -> T:
        """Take ``step``, feeding it from the stream below until it succeeds."""
        while True:
            try:
                return step()
            except SSL.WantReadError:
                await self._flush()
            data = await self._under.receive_some()
            if data:
                self._connection.bio_write(data)
            else:
                self._connection.bio_shutdown()

    async def _flush(self) -> None:
        # Receiving may have something to send as well: an answer to a KeyUpdate.
        async with self._flushing:
            while True:
                try:
                    data = self._connection.bio_read(LARGEST)
                except SSL.WantReadError:
                    return
                await self._under.send_all(data)
