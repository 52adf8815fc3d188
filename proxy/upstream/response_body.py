"""The body of an upstream's response, taken off its connection as somebody asks for it."""

from __future__ import annotations

from typing import Protocol

import trio

from meshfilters.errors import UpstreamProtocolError, UpstreamReset
from meshfilters.message import Buffered, Headers
from proxy.codec import h1


class Connection(Protocol):
    """What a body needs of its connection."""

    reader: h1.Reader

    async def receive_body(self) -> bool:
        """Receive more of it; False at the end of the connection."""
        ...

    def finish(self, keeps_alive: bool) -> None:
        """The body has been read to its last byte."""
        ...

    async def join_pump(self) -> None:
        """See to it that nobody reads the request's body any more."""
        ...

    def close(self) -> None: ...


class ResponseBody:
    """A response's body that is still coming; reading it drives the connection."""

    __slots__ = ("_connection", "_decoder", "_is_closed", "_keeps_alive")

    def __init__(
        self, connection: Connection, decoder: h1.Decoder, keeps_alive: bool
    ) -> None:
        self._connection = connection
        self._decoder = decoder
        self._keeps_alive = keeps_alive
        self._is_closed = False

    @property
    def length(self) -> int | None:
        return self._decoder.length

    @property
    def trailers(self) -> Headers:
        return self._decoder.trailers

    def whole(self) -> Buffered | None:
        """All of it, if its length is known and it is here; its connection is then free."""
        length = self._decoder.length
        if length is None or len(self._connection.reader) < length:
            return None
        data = self._decoder.decode(self._connection.reader)
        self._connection.finish(self._keeps_alive)
        return Buffered(data)

    async def receive(self) -> bytes:
        connection, decoder = self._connection, self._decoder
        if decoder.is_cut:
            await trio.lowlevel.checkpoint()
        while not self._is_closed:
            chunk = self._decode()
            if decoder.is_done:
                self._is_closed = True
                connection.finish(self._keeps_alive)
                await connection.join_pump()
            if chunk or decoder.is_done:
                return chunk
            if not await connection.receive_body():
                self._end_of_stream()
        if not decoder.is_done:
            # A filter closed it and handed it on: in chunks it would look like a whole one.
            raise trio.ClosedResourceError("this body was closed")
        return b""

    def _decode(self) -> bytes:
        try:
            return self._decoder.decode(self._connection.reader)
        except h1.WireError as error:
            self._abandon()
            raise UpstreamProtocolError(str(error), sent=True) from error

    def _end_of_stream(self) -> None:
        self._abandon()
        if not isinstance(self._decoder, h1.UntilClose):
            raise UpstreamReset("closed in the middle of its response", sent=True)
        self._decoder.is_done = True

    def _abandon(self) -> None:
        self._is_closed = True
        self._connection.close()

    async def aclose(self) -> None:
        """Drain what is short, known and here; otherwise the connection closes."""
        if not self._is_closed and self.whole() is None:
            self._connection.close()
        self._is_closed = True
        await self._connection.join_pump()
