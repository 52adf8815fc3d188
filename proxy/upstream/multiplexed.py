"""One HTTP/2 connection to an endpoint, shared by as many exchanges as it has room for.

Each exchange has a stream. A stream that the endpoint never began on (REFUSED_STREAM, or
above the last of a GOAWAY) fails as nothing sent, so that it is sent again elsewhere,
whatever its method. An exchange that is given up resets its stream at once, and with it
the endpoint's work; the others go on.
"""

from __future__ import annotations

from random import random
from typing import Protocol

import trio

from meshfilters.errors import (
    FilterFailed,
    MeshError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamReset,
)
from meshfilters.exchange import Attempt
from meshfilters.message import EMPTY, Body, Buffered, Request, Response
from meshfilters.stream import Stream
from proxy.chain.side_tasks import SideTasks
from proxy.codec import h2
from proxy.codec.h2.seen import Responses
from proxy.codec.orig_proto import MESH, ORIG_PROTO, TOLD
from proxy.config.model import Http, Http2
from proxy.transport.deadlines import Deadlines
from proxy.transport.http2.connection import Multiplexed
from proxy.transport.http2.tunnel import ChannelStream
from proxy.upstream.connection import EARLY, host_of
from proxy.upstream.response_stream import ResponseStream
from proxy.upstream.websocket import accept_of, as_extended_connect, is_websocket

JITTER = 0.1
"""Of the greatest age, either way: so that connections opened together part."""

READY = 1.0
"""Seconds an endpoint has to show that it speaks HTTP/2 at all."""

_LIMITS = Http()
"""An upstream's head is bounded like a client's by default."""


class Owner(Protocol):
    """What a connection needs of its pool."""

    def release(self, connection: ClientConnection) -> None:
        """One exchange less is under way on it."""
        ...

    def forget(self, connection: ClientConnection) -> None:
        """It takes no more exchanges."""
        ...

    def has_room(self, connection: ClientConnection) -> None:
        """It may take more exchanges than before."""
        ...


class ClientConnection(Multiplexed):
    """The client's side of one connection."""

    def __init__(
        self,
        stream: Stream,
        deadlines: Deadlines,
        side_tasks: SideTasks,
        settings: Http2,
        owner: Owner,
    ) -> None:
        codec = h2.make_codec(
            "client",
            h2.Settings(
                stream_window=settings.stream_window,
                connection_window=settings.connection_window,
                max_frame=settings.max_frame,
            ),
            self,
        )
        super().__init__(stream, codec, deadlines, settings)
        self.deadlines = deadlines
        self._side_tasks = side_tasks
        self._owner = owner
        tls = stream.tls
        self.identity = tls.peer.identity if tls is not None and tls.peer else None
        """The name the endpoint proved."""
        self._scheme = b"http" if tls is None else b"https"
        self._is_mesh = tls is not None and tls.alpn == MESH
        self._responses = Responses()
        self._has_served = False
        self._is_leaving = False
        self._reason = "closed before its response"
        self._scope = trio.CancelScope()
        self._heard_first = trio.Event()
        self._is_http2 = False
        """Whether the endpoint's first frame has come, as HTTP/2 wants it."""
        self._is_ready = False
        """Whether exchanges may share it: its limit of streams is known, or long due."""
        self._age = deadlines.timer(self.retire)
        if settings.max_age is not None:
            jitter = 1 - JITTER + 2 * JITTER * random()
            self._age.set(self.clock() + settings.max_age * jitter)

    @property
    def is_usable(self) -> bool:
        """Whether another exchange can begin now."""
        is_open = self._is_ready and not (self.is_over or self._is_leaving)
        return is_open and self.codec.can_open

    @property
    def grants_none(self) -> bool:
        """Whether the endpoint lets no exchange begin though none is under way."""
        is_open = self._is_ready and not self.is_leaving
        return is_open and not self.streams and not self.codec.can_open

    @property
    def is_leaving(self) -> bool:
        """Whether no exchange will ever begin again."""
        return self.is_over or self._is_leaving or self.codec.is_closing

    @property
    def takes_websockets(self) -> bool:
        """Whether the endpoint takes extended CONNECT (RFC 8441)."""
        return self.codec.peer_allows_connect_protocol

    async def run(self) -> None:
        """Communicate until it is over; closes the stream. Run beside everything else."""
        try:
            with self._scope:
                await self.communicate()
        finally:
            self._heard_first.set()
            self._age.close()
            self._leave()
            await self.stream.aclose()

    def cancel(self) -> None:
        self._scope.cancel()

    async def ready(self) -> bool:
        """Wait until the endpoint has said something; False if it is no HTTP/2."""
        with trio.move_on_after(READY):
            await self._heard_first.wait()
        self._is_ready = True
        return self._is_http2 or not self._heard_first.is_set()

    def on_first(self, data: bytes) -> bool:
        # A server's first frame is SETTINGS (RFC 9113, 3.4); HTTP/1 servers complain.
        self._is_http2 = self._is_ready = data[3:4] == b"\x04" or len(data) < 4
        self._heard_first.set()
        return self._is_http2

    def on_silence(self) -> None:
        self._reason = "no answer to a PING"

    def retire(self) -> None:
        """Take no more exchanges, and end behind the last. Idempotent."""
        if not self._is_leaving and not self.is_over:
            self._leave()
            self.codec.end()
            self.wake()
            if not self.streams:
                self.finish()

    def _leave(self) -> None:
        if not self._is_leaving:
            self._is_leaving = True
            self._owner.forget(self)

    # One exchange

    async def ask(self, request: Request, attempt: Attempt) -> Response:
        """Send a request, return its response's head with a body that follows.

        Raises UpstreamError, or what the request's body raised. ``error.sent`` is False
        when the endpoint has not begun on it.
        """
        attempt.identity = self.identity
        channel = self._open(request, attempt)
        attempt.give_up = channel.give_up
        try:
            head = channel.head or await channel.wait_head()
            if channel.informational:
                head = await channel.wait_head()
        except BaseException as error:
            channel.reset()
            channel.discard()
            if channel.pump is not None:
                await channel.pump.stop()
            failed = channel.error
            if isinstance(failed, MeshError) and not isinstance(error, trio.Cancelled):
                raise failed from None
            raise
        attempt.head = self.clock()
        attempt.status = head.status
        return await self._response(channel, head)

    def _open(self, request: Request, attempt: Attempt) -> ResponseStream:
        body, headers = request.body, attempt.headers
        method, protocol, length = request.method, b"", body.length
        to_websocket = is_websocket(request)
        if to_websocket:
            method, protocol, length = b"CONNECT", b"websocket", None
            headers = as_extended_connect(headers)
        elif method == b"CONNECT":
            length = None
        try:
            fields = h2.write_request(
                method,
                request.target,
                headers,
                scheme=self._scheme,
                authority=headers.index.get(b"host") or host_of(attempt.endpoint),
                length=length,
                protocol=protocol,
            )
        except h2.UnwritableHead as error:
            self._owner.release(self)
            raise FilterFailed(f"a filter made a bad request: {error}") from error
        version = TOLD.get(request.exchange.version)
        if self._is_mesh and version is not None:
            fields = [*fields, (ORIG_PROTO, version)]
        is_whole = method != b"CONNECT" and type(body) is Buffered and body.is_whole
        is_end = is_whole and not body.length and not body.trailers
        try:
            if not self.is_usable:
                raise h2.StreamGone("no room for another request")
            stream = self.codec.open(fields, is_end=is_end)
        except h2.StreamGone as error:
            self._owner.release(self)
            raise UpstreamReset(str(error), reused=True) from error
        channel = ResponseStream(self, stream, request, attempt)
        channel.is_websocket = to_websocket
        self.streams[stream] = channel
        if is_whole:
            assert isinstance(body, Buffered)
            if not is_end:
                self._send_whole(channel, body)
            self._sent(channel)
        elif method == b"CONNECT":
            self._sent(channel)
        else:
            channel.watch_time()
            channel.pump = self._side_tasks.start(
                request.exchange, lambda: self._send_body(channel, body)
            )
        self.wake()
        return channel

    def _send_whole(self, channel: ResponseStream, body: Buffered) -> None:
        codec, stream, trailers = self.codec, channel.id, body.trailers
        if not trailers:
            codec.send(stream, body.data, is_end=True)
            return
        if body.data:
            codec.send(stream, body.data, is_end=False)
        codec.send_trailers(stream, h2.write_trailers(trailers))

    def _sent(self, channel: ResponseStream) -> None:
        channel.is_sent = True
        channel.sent_at = self.clock()
        channel.watch_time()

    async def _send_body(self, channel: ResponseStream, body: Body) -> None:
        """The side task that sends a body while the response is waited for."""
        try:
            if await self._pass_body(channel, body):
                self._sent(channel)
        except MeshError as error:
            channel.fail(error)
        except Exception as error:
            failed = MeshError(f"the request's body raised {type(error).__name__}")
            channel.fail(failed)
            raise

    async def _pass_body(self, channel: ResponseStream, body: Body) -> bool:
        """Send the body, exactly as long as the head said; False if it is not taken."""
        length, sent = body.length, 0
        while chunk := await body.receive():
            sent += len(chunk)
            if length is not None and sent > length:
                raise MeshError("a filter made a request body longer than its length")
            try:
                await channel.send(chunk)
            except (UpstreamError, trio.ClosedResourceError):
                return (
                    False  # who reads the response learns of it, or finds an early one
                )
        if length is not None and sent < length:
            raise MeshError("a filter made a request body shorter than its length")
        try:
            if body.trailers:
                self.codec.send_trailers(channel.id, h2.write_trailers(body.trailers))
                self.wake()
            else:
                channel.queue(b"", is_end=True)
        except (h2.StreamGone, UpstreamError, trio.ClosedResourceError):
            return False
        return True

    async def _response(
        self, channel: ResponseStream, head: h2.ResponseHead
    ) -> Response:
        request, headers = channel.request, head.headers
        is_connect = request.method == b"CONNECT" and head.status < 300
        is_granted = channel.is_websocket and head.status == 200
        if is_connect or is_granted:
            # A tunnel has no length, whatever its head says (RFC 9110, 9.3.6).
            headers.remove(b"content-length")
        if is_granted:
            headers.add(b"Upgrade", b"websocket")
            headers.add(b"Sec-WebSocket-Accept", accept_of(request.headers))
            return Response(101, headers, EMPTY, ChannelStream(channel))
        if is_connect:
            return Response(head.status, headers, EMPTY, ChannelStream(channel))
        body = channel.whole()
        if body is None:
            return Response(head.status, headers, channel)
        await channel.finish()
        return Response(head.status, headers, body)

    # What the codec tells

    def on_head(self, stream: int, fields: h2.Fields, is_end: bool) -> None:
        channel = self.streams.get(stream)
        if not isinstance(channel, ResponseStream):
            return
        try:
            method = channel.request.method
            head = self._responses.read(fields, is_end, method, _LIMITS)
        except h2.HeadError as error:
            channel.error = UpstreamProtocolError(str(error), sent=True)
            channel.reset(h2.PROTOCOL_ERROR)
            channel.wake()
            return
        self._has_served = True
        channel.head = head
        channel.length = head.length
        channel.is_ended = channel.is_ended or is_end
        channel.wake()

    def on_informational(self, stream: int, fields: h2.Fields) -> None:
        channel = self.streams.get(stream)
        if not isinstance(channel, ResponseStream) or channel.is_reset:
            return
        if len(channel.informational) > EARLY:
            return  # too many as it is; a few bytes of HPACK are 60 KB to look through
        try:
            method = channel.request.method
            head = h2.read_response(fields, False, method, _LIMITS)
        except h2.HeadError as error:
            channel.error = UpstreamProtocolError(str(error), sent=True)
            channel.reset(h2.PROTOCOL_ERROR)
        else:
            channel.informational.append((head.status, head.headers))
        channel.wake()

    def on_closed(self, stream: int, code: int, is_ours: bool) -> None:
        channel = self.streams.pop(stream, None)
        if not isinstance(channel, ResponseStream):
            return
        error: Exception | None = channel.error
        if error is None and (code or not channel.is_ended):
            error = self._error(channel, code, is_ours=is_ours)
        channel.over()
        channel.close(code, error)
        channel.wake()
        self._owner.release(self)
        self.woken()  # who waited for room
        if self._is_leaving and not self.streams:
            self.finish()

    def _error(
        self, channel: ResponseStream, code: int, *, is_ours: bool
    ) -> UpstreamError:
        if is_ours:
            return UpstreamProtocolError(f"broke HTTP/2, code {code}", sent=True)
        if self.is_over:
            why = self.codec.failure or self._reason
            return UpstreamReset(
                why, sent=True, reused=self._has_served and channel.head is None
            )
        unsent = code in (h2.REFUSED_STREAM, h2.HTTP_1_1_REQUIRED)
        error = UpstreamReset(
            f"stream reset, code {code}", sent=not unsent, reused=unsent
        )
        error.reset = code
        return error

    def on_goaway(self, last: int, code: int) -> None:
        self._leave()
        if not self.streams:
            self.finish()

    def on_room(self) -> None:
        super().on_room()
        self._owner.has_room(self)

    def __repr__(self) -> str:
        state = "over" if self.is_over else "leaving" if self._is_leaving else "open"
        return f"<ClientConnection {state}: {len(self.streams)} streams>"
