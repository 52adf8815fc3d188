"""Writing the response to one HTTP/2 stream's request."""

from __future__ import annotations

from collections.abc import Callable

from meshfilters.errors import ClientGone, DeadlineExceeded, FilterFailed, MeshError
from meshfilters.message import EMPTY, Buffered, Headers, Response
from proxy.codec import h2
from proxy.downstream.response import NO_BODY
from proxy.transport.http2.channel import HIGH, LOW, Channel

CONTINUE = ((b":status", b"100"),)


class StreamWriter:
    """What the client is sent on the stream under way, and how far that has come."""

    __slots__ = (
        "_channel",
        "_clock",
        "_is_head",
        "_is_open",
        "head_at",
        "is_sending",
        "sent",
        "status",
        "touched",
        "trailers",
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.touched = 0.0
        """When a byte of the exchange under way last moved, either way."""
        self.status: int | None = None
        """Of the response whose head is out; None before."""

    def begin(self, channel: Channel, method: bytes) -> None:
        """Be ready to answer a stream's request."""
        self._channel = channel
        self._is_head = method == b"HEAD"
        self._is_open = False
        """Whether a body of no known length is under way."""
        self.is_sending = False
        """Whether the client is waited for to take what it is sent."""
        self.status = None
        self.head_at: float | None = None
        self.sent = 0
        """Bytes of the body."""
        self.trailers: Headers | None = None
        """What ends the response: its trailers, or its headers if it has none."""

    async def respond(self, response: Response) -> None:
        """Write a whole response.

        Closes the body if it fails. Raises ClientGone, or whatever the body raises.
        """
        body, status = response.body, response.status
        if self.status is not None:
            raise FilterFailed("a second response for one request")
        if status < 200:
            raise FilterFailed(f"{status} is no final response")
        is_bodiless = self._is_head or status in NO_BODY
        if is_bodiless and body is not EMPTY:
            length = body.length
            await body.aclose()
            body = EMPTY
        else:
            length = body.length
        try:
            fields = h2.write_response(
                status, response.headers, length, is_bodiless=is_bodiless
            )
            if type(body) is Buffered and body.is_whole:
                self._head(status, fields, is_end=not (body.data or body.trailers))
                await self._whole(body)
            else:
                self._head(status, fields, is_end=False)
                self._channel.connection.wake()
                await self._stream(response)
        except h2.UnwritableHead as error:
            await body.aclose()
            raise FilterFailed(str(error)) from error
        except h2.StreamGone as error:
            await body.aclose()
            raise ClientGone(str(error)) from error
        except BaseException:
            await body.aclose()
            raise
        self.trailers = body.trailers or response.headers

    def _head(self, status: int, fields: h2.Fields, *, is_end: bool) -> None:
        channel = self._channel
        channel.connection.codec.respond(channel.id, fields, is_end=is_end)
        self.status = status
        self.head_at = self.touched = self._clock()

    async def _whole(self, body: Buffered) -> None:
        channel, data = self._channel, body.data
        codec = channel.connection.codec
        if body.trailers:
            if data:
                codec.send(channel.id, data, is_end=False)
            codec.send_trailers(channel.id, h2.write_trailers(body.trailers))
        elif data:
            codec.send(channel.id, data, is_end=True)
        channel.connection.wake()
        if len(data) > HIGH:
            self.is_sending = True
            await channel.sent(LOW)
            self.is_sending = False
        self.sent = len(data)

    async def _stream(self, response: Response) -> None:
        channel, body = self._channel, response.body
        length = body.length
        self._is_open = length is None
        while chunk := await body.receive():
            self.sent += len(chunk)
            if length is not None and self.sent > length:
                raise FilterFailed("a body longer than its length")
            self.is_sending = True
            await channel.send(chunk)
            self.is_sending = False
            self.touched = self._clock()
        if length is not None and self.sent != length:
            raise FilterFailed("a body shorter than its length")
        self._is_open = False
        if body.trailers:
            trailers = h2.write_trailers(body.trailers)
            channel.connection.codec.send_trailers(channel.id, trailers)
            channel.connection.wake()
        else:
            channel.queue(b"", is_end=True)

    def cut_short(self, trailers: Headers) -> bool:
        """End a body that can't be finished with trailers that say so.

        False, and nothing done, where the head has promised how long it would be.
        """
        if not self._is_open:
            return False
        fields = h2.write_trailers(trailers)
        self._channel.connection.codec.send_trailers(self._channel.id, fields)
        self._channel.connection.wake()
        self._is_open = False
        self.trailers = trailers
        return True

    def switch(self, status: int, headers: Headers) -> None:
        """Write the head behind which the stream is another protocol's."""
        fields = h2.write_response(status, headers, None, is_bodiless=True)
        try:
            self._head(status, fields, is_end=False)
        except h2.StreamGone as error:
            raise ClientGone(str(error)) from error
        self._channel.connection.wake()

    async def inform(self, status: int, headers: Headers) -> None:
        """Write a 1xx, unless the response has begun."""
        if self.status is None:
            self._inform(h2.write_response(status, headers, None, is_bodiless=True))

    def send_continue(self) -> None:
        """Ask the client for the body it is holding back (RFC 9110, 10.1.1)."""
        if self.status is None:
            self._inform(CONTINUE)

    def _inform(self, fields: h2.Fields) -> None:
        channel = self._channel
        try:
            channel.connection.codec.respond(channel.id, fields, is_end=False)
        except h2.StreamGone as error:
            raise ClientGone(str(error)) from error
        channel.connection.wake()


def reset_code(error: MeshError) -> int:
    """What a stream is reset with when a response can't be finished.

    An upstream's own reason is passed on, as Linkerd does.
    """
    if error.reset is not None:
        return error.reset
    if isinstance(error, ClientGone | DeadlineExceeded):
        return h2.CANCEL
    return h2.INTERNAL_ERROR
