"""One HTTP/1.1 connection to an endpoint, used by one exchange at a time.

It goes back to its pool by itself when a response has been read to its last byte and
both sides keep it; whatever else happens closes it, and with it the upstream's work.
Nothing of a response is believed that the strict codec does not let through.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from meshfilters.errors import (
    AttemptTimeout,
    DeadlineExceeded,
    FilterFailed,
    MeshError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamReset,
)
from meshfilters.exchange import Attempt, Endpoint, Exchange
from meshfilters.message import EMPTY, Body, Buffered, Headers, Request, Response
from meshfilters.stream import Stream
from proxy.chain.side_tasks import SideTask, SideTasks
from proxy.codec import h1
from proxy.config.model import Http
from proxy.transport.deadlines import Deadlines
from proxy.upstream.response_body import ResponseBody
from proxy.upstream.tunnel import Tunnel

EARLY = 16
"""Informational responses one request may get; more is an attack."""

CONTINUE_WAIT = 1.0
"""Seconds an upstream gets to say 100 Continue or no (Go's ExpectContinueTimeout)."""

AT_ONCE = 64 * 1024
"""Bytes of a body that are sent before anything is read; a longer one is sent while the
response is waited for, lest both sides wait for the other to read."""

ATOMIC = 4096
"""Bytes the kernel takes whole or not at all: failing to send them sent nothing."""

_LIMITS = Http()
"""An upstream's head is bounded like a client's by default."""


class UpstreamConnection:
    """A connection to one endpoint. ``release`` is told True when it may be used again."""

    def __init__(
        self,
        stream: Stream,
        deadlines: Deadlines,
        side_tasks: SideTasks,
        release: Callable[[UpstreamConnection, bool], None],
    ) -> None:
        tls = stream.tls
        self.stream = stream
        self.identity = tls.peer.identity if tls is not None and tls.peer else None
        """The name the endpoint proved."""
        self.idle_since = 0.0
        self.reader = h1.Reader()
        self._deadlines = deadlines
        self._clock = deadlines.clock
        self._timer = deadlines.timer(self._expire)
        self._side_tasks = side_tasks
        self._release = release
        self._receive = getattr(stream, "receive_soon", stream.receive_some)
        self._send = getattr(stream, "send_later", stream.send_all)
        self._has_served = False
        self._is_untouched = False
        """Whether it has served before, and nothing of the next response has come."""
        self._is_atomic = False
        """Whether the kernel takes the whole request or nothing of it."""
        self._is_closed = False
        self._is_tunnel = False
        """Whether it is in use for bytes of another protocol, to the exchange's end."""
        self._exchange: Exchange | None = None
        self._attempt: Attempt | None = None
        self._sent_at = math.inf
        self._pump: SideTask | None = None
        self._error: MeshError | None = None

    @property
    def is_usable(self) -> bool:
        """Whether nothing has come, nor gone, since the last response."""
        return not (self._is_closed or getattr(self.stream, "is_stale", False))

    async def ask(self, request: Request, attempt: Attempt) -> Response:
        """Send a request, return its response's head with a body that follows.

        Raises UpstreamError, or what the request's body raised. ``error.reused`` says
        that a pooled connection ended before anything came back.
        """
        self._exchange, self._attempt = request.exchange, attempt
        attempt.identity = self.identity
        attempt.give_up = self.give_up
        self._error = None
        self._sent_at = math.inf
        self._is_untouched = self._has_served
        try:
            await self._send_request(request, attempt)
            if not self.reader.data:
                self.reader.feed(await self._receive_some())
            head = self._read_head(request)
            if head is None or head.status < 200:
                head = await self._receive_head(request, head)
        except BaseException as error:
            await self._give_up()
            failed = self._failure()
            if failed is not None and not isinstance(error, trio.Cancelled):
                raise failed from None
            raise
        attempt.head = self._clock()
        attempt.status = head.status
        response = self._response(head, request)
        if (self._is_closed or self._is_tunnel) and self._pump is not None:
            await self.join_pump()
        return response

    def _failure(self) -> MeshError | None:
        # Behind a call, because the pump or the timer may set it at any await.
        return self._error

    async def _send_request(self, request: Request, attempt: Attempt) -> None:
        body, headers = request.body, attempt.headers
        index = headers.index
        if b"host" not in index:
            # HTTP/1.0 may lack one; HTTP/1.1 must not (RFC 9112, 3.2). As nginx names it.
            headers = headers.copy()
            headers.add(b"Host", host_of(attempt.endpoint))
        if b"te" in index:  # of HTTP/2, where it is end to end
            headers = headers.copy()
            headers.remove(b"te")
        try:
            head = h1.write_request(
                request.method, request.target, headers, body.length
            )
        except h1.UnwritableHead as error:
            raise FilterFailed(f"a filter made a bad request: {error}") from error
        data, is_whole = head, False
        if (
            type(body) is Buffered
            and len(body.data) <= AT_ONCE
            and body.is_whole
            and not body.has_trailers
        ):
            data, is_whole = head + body.data, True
        self._is_atomic = is_whole and len(data) <= ATOMIC
        if len(data) > ATOMIC:
            self._watch_time()  # sending it may take long
        try:
            await self._send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._reset(error, was_taken=len(data) > ATOMIC) from error
        if is_whole:
            self._sent_at = self._clock()
            self._watch_time()
        else:
            self._watch_time()
            if b"expect" in index and await self._is_declined():
                return
            self._pump = self._side_tasks.start(
                request.exchange, lambda: self._send_body(body)
            )

    async def _is_declined(self) -> bool:
        """Wait for 100 Continue; True if a final status came: nobody wants the body."""
        with trio.move_on_after(CONTINUE_WAIT):
            self.reader.feed(await self._receive_some())
        status = self.reader.data[len(b"HTTP/1.1 ") :][:1]
        return status not in (b"", b"1")

    async def _send_body(self, body: Body) -> None:
        """The side task that sends a body while the response is waited for."""
        try:
            if await self._pass_body(body):
                self._sent_at = self._clock()
                self._watch_time()
        except MeshError as error:
            self._fail(error)
        except Exception as error:
            failed = MeshError(f"the request's body raised {type(error).__name__}")
            self._fail(failed)
            raise

    async def _pass_body(self, body: Body) -> bool:
        """Send the body, exactly as long as the head said; False if it is not taken."""
        length, sent = body.length, 0
        while chunk := await body.receive():
            sent += len(chunk)
            if length is not None and sent > length:
                raise MeshError("a filter made a request body longer than its length")
            if not await self._is_taken(
                h1.write_chunk(chunk) if length is None else chunk
            ):
                return False
        if length is None:
            return await self._is_taken(h1.write_last_chunk(body.trailers))
        if sent < length:
            raise MeshError("a filter made a request body shorter than its length")
        return True

    async def _is_taken(self, data: bytes) -> bool:
        try:
            await self._send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False  # who reads the response learns of it, or finds an early one
        return True

    def _fail(self, error: MeshError) -> None:
        """The request can't be finished: whoever waits for its response gets ``error``."""
        self._error = error
        if self._exchange is not None and self._attempt is not None:
            if self._attempt.head is None:
                self._close_stream()
            else:
                self._exchange.cancel(error)

    def _read_head(self, request: Request) -> h1.ResponseHead | None:
        try:
            return h1.read_response(self.reader, _LIMITS, request.method)
        except h1.WireError as error:
            raise UpstreamProtocolError(str(error), sent=True) from error

    async def _receive_head(
        self, request: Request, head: h1.ResponseHead | None
    ) -> h1.ResponseHead:
        """The final head; ``head`` is the first, if it is whole but not final."""
        informational = 0
        while True:
            if head is None:
                self.reader.feed(await self._receive_some())
            elif head.status >= 200:
                return head
            elif head.status == 101:
                if not _is_offered(head.headers, request.headers):
                    raise UpstreamProtocolError("101 to what was not asked", sent=True)
                return head
            else:
                informational += 1
                if informational > EARLY:
                    raise UpstreamProtocolError("too many 1xx responses", sent=True)
                tell = request.exchange.informational
                if head.status != 100 and tell is not None:
                    await tell(head.status, head.headers)
            head = self._read_head(request)

    async def _receive_some(self) -> bytes:
        try:
            data: bytes = await self._receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._error or self._reset(error) from error
        if not data:
            raise self._reset(None)
        self._is_untouched = False
        return data

    def _reset(
        self, error: Exception | None, *, was_taken: bool = True
    ) -> UpstreamError:
        """The connection ended early; if nothing had come, it may have raced its closing."""
        detail = str(error) if error is not None else "closed before its response"
        if self._is_atomic and getattr(self.stream, "is_unsent", False):
            was_taken = False
        return UpstreamReset(detail, sent=was_taken, reused=self._is_untouched)

    # The response

    def _response(self, head: h1.ResponseHead, request: Request) -> Response:
        decoder = head.decoder
        if head.status == 101 or (request.method == b"CONNECT" and head.status < 300):
            return self._tunnel(head)
        if decoder is None:
            self.finish(head.keeps_alive)
            return Response(head.status, head.headers)
        length = decoder.length
        if length is None or len(self.reader) < length:
            body = ResponseBody(self, decoder, head.keeps_alive)
            return Response(head.status, head.headers, body)
        data = decoder.decode(self.reader)
        self.finish(head.keeps_alive)
        return Response(head.status, head.headers, Buffered(data))

    def _tunnel(self, head: h1.ResponseHead) -> Response:
        self._timer.close()
        self._is_tunnel = True
        self._attempt = None  # its end, and what it ends with, are the exchange's
        early = self.reader.take(len(self.reader))
        stream = self.stream
        if early:
            stream = Tunnel(stream, early)
        return Response(head.status, head.headers, EMPTY, stream)

    def finish(self, keeps_alive: bool) -> None:
        """The response has been read to its last byte."""
        attempt = self._attempt
        if attempt is not None and attempt.ended is None:
            attempt.ended = self._clock()
        self._timer.deadline = math.inf
        self._has_served = True
        # Bytes behind the response, or a request still being sent: not again.
        if keeps_alive and not self.reader.data and self._sent_at < math.inf:
            self._exchange = self._attempt = self._pump = None
            self._release(self, True)
        else:
            self.close()

    async def receive_body(self) -> bool:
        """Receive more of a response's body; False at the end of the connection."""
        try:
            data: bytes = await self._receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._error or UpstreamReset(str(error), sent=True) from error
        self.reader.feed(data)
        return bool(data)

    # Time and endings

    def _watch_time(self) -> None:
        """Have the timer look at the limits of the attempt under way."""
        exchange, attempt = self._exchange, self._attempt
        if exchange is None or attempt is None or attempt.head is not None:
            return
        limits = exchange.limits
        if limits.attempt == math.inf == limits.head:
            return
        deadline = min(attempt.started + limits.attempt, self._sent_at + limits.head)
        if deadline != math.inf:
            self._timer.set(deadline)

    def _expire(self) -> None:
        exchange, attempt = self._exchange, self._attempt
        if exchange is None or attempt is None or attempt.head is not None:
            return
        now, limits = self._clock(), exchange.limits
        if now >= attempt.started + limits.attempt:
            self._fail(AttemptTimeout(f"over {limits.attempt:g} s", sent=True))
        elif now >= self._sent_at + limits.head:
            exchange.cancel(DeadlineExceeded(f"no response head in {limits.head:g} s"))
        else:
            self._watch_time()

    async def _give_up(self) -> None:
        """Close, and see to it that nobody reads the request's body any more."""
        self.close()
        await self.join_pump()

    async def join_pump(self) -> None:
        pump, self._pump = self._pump, None
        if pump is not None:
            await pump.stop()

    def close(self) -> None:
        """Close now; the endpoint's work for it ends. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._timer.close()
            if self._pump is not None:
                self._pump.scope.cancel()
            self._close_stream()
            self._release(self, False)
            if self._attempt is not None and self._attempt.ended is None:
                self._attempt.ended = self._clock()
            self._exchange = self._attempt = None

    def give_up(self) -> bool:
        """Close a connection whose response nobody has closed; True if that was so.

        A tunnel's end is its exchange's: that one is nobody's mistake.
        """
        is_left = not (self._is_closed or self._is_tunnel)
        self.close()
        return is_left

    def _close_stream(self) -> None:
        close = getattr(self.stream, "close", None)
        if close is not None:
            close()
        else:  # a dial filter's own stream
            self._side_tasks.close_soon(self.stream)

    def __repr__(self) -> str:
        if self._is_closed:
            state = "closed"
        else:
            state = "active" if self._exchange is not None else "idle"
        return f"<UpstreamConnection {state}>"


def host_of(endpoint: Endpoint) -> bytes:
    address = endpoint.address
    if address.startswith("unix:"):
        return b"localhost"
    if not endpoint.host:
        return address.encode()
    return f"{endpoint.host}:{address.rpartition(':')[2]}".encode()


def _is_offered(switched: Headers, asked: Headers) -> bool:
    """Whether the protocol of a 101 is one the client would switch to."""
    chosen = switched.index.get(b"upgrade", b"").lower()
    offered = asked.index.get(b"upgrade", b"").lower().split(b",")
    return bool(chosen) and chosen in (each.strip() for each in offered)
