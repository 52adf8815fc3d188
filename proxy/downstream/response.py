"""Writing responses to one client, one behind the other.

Nothing is written after an error behind a head: whoever calls cuts the connection, so
that no response looks whole that is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from meshfilters.errors import ClientGone, FilterFailed
from meshfilters.message import EMPTY, Body, Buffered, Headers, Response
from meshfilters.stream import Stream
from proxy.codec import h1

NO_BODY = frozenset({204, 304})
CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
UPGRADE = b"Connection: upgrade\r\n"


class ResponseWriter:
    """What the client of one connection is sent, and how far that has come."""

    __slots__ = (
        "_clock",
        "_head",
        "_send",
        "head_at",
        "is_sending",
        "sent",
        "status",
        "touched",
        "trailers",
    )

    def __init__(self, stream: Stream, clock: Callable[[], float]) -> None:
        self._send: Callable[[bytes], Awaitable[None]] = getattr(
            stream, "send_later", stream.send_all
        )
        self._clock = clock
        self.touched = 0.0
        """When a byte of the exchange under way last moved, either way."""
        self.is_sending = False
        """Whether the client is waited for to take what it is sent."""
        self.begin(None)

    def begin(self, head: h1.RequestHead | None) -> None:
        """Be ready to answer the request of ``head``, or nothing."""
        self._head = head
        self.status: int | None = None
        """Of the response whose head is out; None before."""
        self.head_at: float | None = None
        self.sent = 0
        """Bytes of the body."""
        self.trailers: Headers | None = None
        """What ends the response: its trailers, or its headers if it has none."""

    async def respond(self, response: Response, *, closes: bool) -> bool:
        """Write a whole response; False if only closing the connection ends its body.

        Closes the body if it fails. Raises ClientGone, or whatever the body raises.
        """
        head, body = self._head, response.body
        if head is None or self.status is not None:
            raise FilterFailed("a second response for one request")
        if response.status < 200:
            raise FilterFailed(f"{response.status} is no final response")
        is_bodiless = head.method == b"HEAD" or response.status in NO_BODY
        if is_bodiless:
            await body.aclose()
            body = EMPTY
        length = body.length
        ends_by_closing = length is None and head.is_http10
        connection = b""
        if closes or ends_by_closing:
            connection = CLOSE
        elif head.is_http10:
            connection = KEEP_ALIVE
        try:
            written = h1.write_response(
                response.status,
                response.headers,
                length,
                is_bodiless=is_bodiless or ends_by_closing,
                connection=connection,
            )
            self.status = response.status
            self.head_at = self._clock()
            if type(body) is Buffered and body.is_whole and not body.has_trailers:
                await self._write(written + body.data)
                self.sent = len(body.data)
                self.trailers = response.headers
            else:
                await self._write(written)
                await self._stream(body, length, length is None and not head.is_http10)
                self.trailers = body.trailers or response.headers
        except h1.UnwritableHead as error:
            await body.aclose()
            raise FilterFailed(str(error)) from error
        except BaseException:
            await body.aclose()
            raise
        return not ends_by_closing

    async def _stream(self, body: Body, length: int | None, is_chunked: bool) -> None:
        while chunk := await body.receive():
            self.sent += len(chunk)
            if length is not None and self.sent > length:
                raise FilterFailed("a body longer than its length")
            await self._write(h1.write_chunk(chunk) if is_chunked else chunk)
        if is_chunked:
            await self._write(h1.write_last_chunk(body.trailers))
        elif length is not None and self.sent != length:
            raise FilterFailed("a body shorter than its length")

    async def switch(self, response: Response) -> None:
        """Write the head behind which the connection is another protocol's."""
        connection = UPGRADE if response.status == 101 else b""
        written = h1.write_response(
            response.status,
            response.headers,
            0,
            is_bodiless=True,
            connection=connection,
        )
        self.status = response.status
        self.head_at = self._clock()
        await self._write(written)

    async def inform(self, status: int, headers: Headers) -> None:
        """Write a 1xx, unless the response has begun."""
        if self.status is None:
            await self._write(h1.write_response(status, headers, 0, is_bodiless=True))

    async def send_continue(self) -> None:
        """Ask the client for the body it is holding back (RFC 9110, 10.1.1)."""
        if self.status is None:
            await self._write(h1.CONTINUE)

    async def refuse(self, response: Response, *, is_head: bool) -> None:
        """Answer what never became a request, to close behind it."""
        body = response.body
        data = body.data if type(body) is Buffered and not is_head else b""
        written = h1.write_response(
            response.status, response.headers, body.length, connection=CLOSE
        )
        await self._write(written + data)

    async def _write(self, data: bytes) -> None:
        self.is_sending = True
        try:
            await self._send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ClientGone(str(error)) from error
        self.is_sending = False
        self.touched = self._clock()
