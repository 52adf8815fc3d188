"""The body of a client's request, taken off its connection as somebody asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from meshfilters.errors import BadRequest, ClientGone
from meshfilters.message import Buffered, Headers
from proxy.chain.pipeline import PROXY
from proxy.codec.h1 import Decoder, Reader, WireError


class Client(Protocol):
    """What a body needs of its session."""

    reader: Reader

    @property
    def receive(self) -> Callable[[], Awaitable[bytes]]: ...

    async def send_continue(self) -> None: ...

    def touch(self) -> None: ...


class RequestBody:
    """Bytes the client is still sending.

    The first ``receive`` asks a client that waits for 100 Continue to go on. Raises
    ClientGone when it leaves midway, BadRequest for broken framing or a body over the
    listener's limit.
    """

    __slots__ = (
        "_client",
        "_decoder",
        "_expects_continue",
        "_limit",
        "is_awaited",
        "is_closed",
        "received",
    )

    def __init__(
        self,
        client: Client,
        decoder: Decoder,
        expects_continue: bool,
        limit: int | None,
    ) -> None:
        self._client = client
        self._decoder = decoder
        self._expects_continue = expects_continue
        self._limit = limit
        self.received = 0
        self.is_awaited = False
        """Whether somebody is waiting for the client's bytes now."""
        self.is_closed = False

    @property
    def length(self) -> int | None:
        return self._decoder.length

    @property
    def trailers(self) -> Headers:
        return self._decoder.trailers

    @property
    def is_done(self) -> bool:
        """Whether its last byte has been taken off the connection."""
        return self._decoder.is_done

    def whole(self) -> Buffered | None:
        """All of it, if its length is known and it is here: it then costs no wait."""
        reader, length = self._client.reader, self._decoder.length
        if length is None or len(reader) < length:
            return None
        self.received = length
        self._expects_continue = False
        return Buffered(self._decoder.decode(reader))

    async def receive(self) -> bytes:
        if self._expects_continue:
            self._expects_continue = False
            await self._client.send_continue()
        client = self._client
        if self._decoder.is_cut:
            await trio.lowlevel.checkpoint()
        while not self.is_done:
            if self.is_closed:
                raise trio.ClosedResourceError("this body was closed")
            chunk = self._decode()
            if chunk or self.is_done:
                return chunk
            self.is_awaited = True
            try:
                data = await client.receive()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ClientGone(str(error)) from error
            finally:
                self.is_awaited = False
            if not data:
                raise ClientGone("left in the middle of its request")
            client.touch()
            client.reader.feed(data)
        return b""

    def _decode(self) -> bytes:
        try:
            chunk = self._decoder.decode(self._client.reader)
        except WireError as error:
            self.is_closed = True
            raise _refused(str(error), error.status) from error
        self.received += len(chunk)
        if self._limit is not None and self.received > self._limit:
            self.is_closed = True
            raise _refused(f"body over {self._limit} bytes", 413)
        return chunk

    def check_length(self) -> None:
        """Raise BadRequest if the head tells of more than the listener lets through."""
        length = self._decoder.length
        if self._limit is not None and length is not None and length > self._limit:
            raise _refused(f"body over {self._limit} bytes", 413)

    async def aclose(self) -> None:
        self.is_closed = True

    def may_continue(self) -> bool:
        """Whether the connection can serve again behind a response that starts now.

        Not when the client still holds its body back: it may send it or not.
        """
        return not self._expects_continue

    def discard(self) -> bool:
        """Drop what is here of it unread; True if that was all, to its last byte.

        Not when that is chunks without end: they are not worth the others' time.
        """
        decoder = self._decoder
        if self._expects_continue:
            return False
        try:
            while not (decoder.is_done or decoder.is_cut):
                if not decoder.decode(self._client.reader):
                    break
        except WireError:
            return False
        return decoder.is_done


def _refused(detail: str, status: int) -> BadRequest:
    error = BadRequest(detail, status=status)
    error.by = PROXY
    return error
