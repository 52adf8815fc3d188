"""The joint between the levels: one HTTP/1.1 connection in, many requests out.

A ``Session`` is one client's connection. It reads a head, runs the pipeline, writes
the response, and ends the exchange, in one task and one cancel scope for the whole
connection; the scope is replaced when an exchange was cancelled. Three rules:

1. Every exchange that was begun is ended, once, whatever happened.
2. Whatever was refused before its last byte was read is answered and then lingered
   over, so that the answer is not lost to a reset (RFC 9112, 9.6).
3. Nothing is written after an error behind a head: the connection is cut, so that no
   response looks whole that is not.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from meshfilters.errors import (
    BadRequest,
    ClientGone,
    DeadlineExceeded,
    Draining,
    FilterFailed,
    MeshError,
    NoRoute,
    Refused,
)
from meshfilters.exchange import Connection, Exchange, Limits, Outcome
from meshfilters.message import EMPTY, Body, Buffered, Headers, Request, Response
from proxy.codec import h1
from proxy.config.model import Http as HttpLimits
from proxy.deadlines import Deadlines
from proxy.downstream_body import RequestBody
from proxy.pipeline import Blame, Pipeline
from proxy.relay import relay
from proxy.respond import error_response
from proxy.side_tasks import SideTasks

LINGER = 2.0
"""Seconds a refused client is read from, so that it gets to see why (nginx: 5)."""

FAREWELL = 5.0
"""Seconds that writing an error may take."""

NO_BODY = frozenset({204, 304})


class Http:
    """A connection service: serves HTTP/1.1 on each connection with one pipeline."""

    def __init__(
        self,
        pipeline: Pipeline[Request, Response],
        route: Callable[[h1.RequestHead], str | None],
        limits: HttpLimits,
        deadlines: Deadlines,
        side_tasks: SideTasks,
        blame: Blame,
        refused: Callable[[MeshError], None],
    ) -> None:
        self.pipeline = pipeline
        """What the next request goes through; replaced as a whole."""
        self.route = route
        """The service a request goes to by its head; None when there is none."""
        self.limits = limits
        self.deadlines = deadlines
        self.clock = deadlines.clock
        self.side_tasks = side_tasks
        self.blame = blame
        self.refused = refused
        """Told of each request that was refused before it became an exchange."""
        self.is_draining = False
        self.sessions: set[Session] = set()

    async def __call__(self, connection: Connection, /) -> None:
        session = Session(self, connection)
        self.sessions.add(session)
        try:
            await session.run()
        finally:
            self.sessions.discard(session)

    def drain(self) -> None:
        """Close what is idle; tell the rest's clients to close behind their response."""
        self.is_draining = True
        for session in self.sessions:
            session.drain()

    def __repr__(self) -> str:
        busy = sum(session.exchange is not None for session in self.sessions)
        return f"<Http {busy} active {len(self.sessions) - busy} idle>"


class Session:
    """One client's connection; also the runtime of its exchanges."""

    def __init__(self, server: Http, connection: Connection) -> None:
        self.server = server
        self.connection = connection
        self.stream = stream = connection.stream
        self.reader = h1.Reader()
        self.exchange: Exchange | None = None
        self.touched = 0.0
        """When a byte of the exchange under way last moved."""
        self.receive: Callable[[], Awaitable[bytes]] = getattr(
            stream, "receive_soon", stream.receive_some
        )
        self._send: Callable[[bytes], Awaitable[None]] = getattr(
            stream, "send_soon", stream.send_all
        )
        self._timer = server.deadlines.timer(self._expire)
        self._scope = trio.CancelScope()
        self._cut: MeshError | None = None
        self._is_idle = True
        self._closes = False
        self._request: Request | None = None
        self._body: RequestBody | None = None
        self._head: h1.RequestHead | None = None
        self._status: int | None = None
        self._head_at: float | None = None
        self._sent = 0
        self._trailers: Headers | None = None
        self._moved = 0

    # The connection

    async def run(self) -> None:
        """Serve until either side is done; closes the stream."""
        watch = getattr(self.stream, "on_hangup", None)
        if watch is not None:
            watch(self._hang_up)
        try:
            while True:
                with trio.CancelScope() as self._scope:
                    await self._serve()
                    return
                if not await self._answer_cancelled():
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError, ClientGone):
            pass
        finally:
            self._timer.close()
            if self.exchange is not None:
                # Cancelled from outside: the worker's grace is over.
                self._end(self.exchange.reason or Draining())
            await self.stream.aclose()

    async def _serve(self) -> None:
        while not self._closes:
            try:
                head = await self._next_head()
            except h1.WireError as error:
                refusal = BadRequest(str(error), status=error.status)
                await self._refuse(refusal, is_head=error.method == b"HEAD")
                return
            if head is None:
                return
            await self._exchange(head)

    async def _next_head(self) -> h1.RequestHead | None:
        server, reader = self.server, self.reader
        timer = self._timer
        self._is_idle = not reader
        timer.set(server.clock() + self._patience())
        while True:
            if reader:
                head = h1.read_request(reader, server.limits)
                if head is not None:
                    self._is_idle = False
                    return head
            if self._is_idle and server.is_draining:
                return None
            data = await self.receive()
            if not data:
                return None
            if self._is_idle:
                self._is_idle = False
                timer.set(server.clock() + server.limits.head_timeout)
            reader.feed(data)

    def _patience(self) -> float:
        limits = self.server.limits
        return limits.keep_alive if self._is_idle else limits.head_timeout

    async def _answer_cancelled(self) -> bool:
        """After the scope fired: answer if that is due; True to go on serving."""
        if self.exchange is not None:
            await self._finish(self.exchange.reason)
            return not self._closes
        if self._cut is not None:
            await self._refuse(self._cut)
        # The scope may have fired for an exchange that ended just before.
        return self._cut is None and not self._is_idle and not self._closes

    async def _refuse(self, error: MeshError, *, is_head: bool = False) -> None:
        """Answer what never became an exchange, and close."""
        self.server.refused(error)
        response = error_response(error, None)
        assert isinstance(response.body, Buffered)
        head = h1.write_response(
            response.status,
            response.headers,
            response.body.length,
            connection=b"Connection: close\r\n",
        )
        with trio.move_on_after(FAREWELL):
            await self._send(head if is_head else head + response.body.data)
            await self._linger()

    async def _linger(self) -> None:
        self._timer.close()
        with trio.move_on_after(LINGER):
            await self.stream.send_eof()
            while await self.receive():
                pass

    def drain(self) -> None:
        """Close now if idle; otherwise behind the exchange under way."""
        if self._is_idle and self.exchange is None:
            self._closes = True
            self._scope.cancel()

    # One exchange

    async def _exchange(self, head: h1.RequestHead) -> None:
        server = self.server
        now = self.touched = server.clock()
        self._closes = not head.keeps_alive
        self._head = head
        self._status = self._head_at = self._trailers = None
        self._sent = 0
        exchange = Exchange(self.connection, now, Limits(), self)
        if head.is_http10:
            exchange.version = "1.0"
        else:
            exchange.informational = self._send_informational
        self.exchange = exchange
        pipeline = server.pipeline
        pipeline.active += 1
        self._timer.set(now + server.limits.stall_timeout)
        error: MeshError | None = None
        try:
            request = self._request = Request(
                head.method,
                head.target,
                head.headers,
                self._destination(head),
                exchange,
                self._take_body(head),
            )
            response = await pipeline.service(request)
            await self._respond(response)
        except MeshError as raised:
            error = raised
        except Exception as raised:
            # A body that a filter put in the place of another failed.
            server.blame(exchange.owner or "body", raised)
            error = FilterFailed(f"a body raised {type(raised).__name__}")
        finally:
            pipeline.leave()
        await self._finish(error)

    def _destination(self, head: h1.RequestHead) -> str:
        if head.method == b"CONNECT" and not self.server.limits.connect:
            raise Refused("CONNECT is off on this listener", status=405)
        destination = self.server.route(head)
        if destination is None:
            raise NoRoute(f"no service is named {head.host.decode('latin-1')}")
        return destination

    def _take_body(self, head: h1.RequestHead) -> Body:
        decoder = head.decoder
        if decoder is None:
            self._body = None
            return EMPTY
        limit = self.server.limits.max_body
        if limit is not None and (decoder.length or 0) > limit:
            self._closes = True
            raise BadRequest(f"body over {limit} bytes", status=413)
        self._body = RequestBody(self, decoder, head.expects_continue, limit)
        return self._body.whole() or self._body

    async def _finish(self, error: MeshError | None) -> None:
        """Answer an error if no head is out yet, and end the exchange."""
        exchange = self.exchange
        assert exchange is not None
        if error is not None:
            await self._answer(error)
        if self._body is not None and not self._body.discard():
            self._closes = True
            if self._status is not None and error is None:
                await self._linger()
        await self.server.side_tasks.join(exchange)
        self._end(error)

    async def _answer(self, error: MeshError) -> None:
        if self._status is not None or isinstance(error, ClientGone):
            self._closes = True
            await self.stream.aclose()
            return
        if error.closes:
            self._closes = True
        was_unread = self._body is not None and not self._body.is_done
        self._closes = self._closes or was_unread
        exchange = self.exchange
        assert exchange is not None
        with trio.move_on_after(FAREWELL) as farewell:
            try:
                await self._respond(error_response(error, self._request))
                if was_unread:
                    await self._linger()
            except (ClientGone, trio.BrokenResourceError):
                self._closes = True
        if farewell.cancelled_caught:
            self._closes = True

    def _end(self, error: MeshError | None) -> None:
        exchange = self.exchange
        assert exchange is not None
        now = self.server.clock()
        started = exchange.started
        self.exchange = None
        exchange.end(
            Outcome(
                self._status,
                error,
                self._body.received if self._body is not None else 0,
                self._sent,
                None if self._head_at is None else self._head_at - started,
                now - started,
                len(exchange.attempts),
                self._trailers,
                _grpc_status(self._trailers),
            )
        )

    # Writing

    async def _respond(self, response: Response) -> None:
        """Write a whole response. Raises MeshError, before or behind its head."""
        head = self._head
        assert head is not None
        body = response.body
        if self._status is not None:
            raise FilterFailed("a second response for one request")
        if self.server.is_draining:
            self._closes = True
        if self._body is not None and not self._body.may_continue():
            self._closes = True
        if response.upgrade is not None:
            await self._upgrade(response)
            return
        is_bodiless = head.method == b"HEAD" or response.status in NO_BODY
        if is_bodiless:
            await body.aclose()
            body = EMPTY
        is_chunked = not is_bodiless and body.length is None and not head.is_http10
        if body.length is None and head.is_http10:
            self._closes = True
        try:
            written = h1.write_response(
                response.status,
                response.headers,
                body.length,
                is_bodiless=is_bodiless or (body.length is None and head.is_http10),
                connection=self._connection_field(head),
            )
        except h1.UnwritableHead as error:
            await body.aclose()
            raise FilterFailed(str(error)) from error
        if type(body) is Buffered and body.is_whole:
            data = body.data
            await self._write_head(response, written + data)
            self._sent = len(data)
            self._trailers = body.trailers or response.headers
            return
        try:
            await self._write_head(response, written)
            await self._stream_body(body, is_chunked)
        except BaseException:
            await body.aclose()
            raise
        self._trailers = body.trailers or response.headers

    def _connection_field(self, head: h1.RequestHead) -> bytes:
        if self._closes:
            return b"Connection: close\r\n"
        return b"Connection: keep-alive\r\n" if head.is_http10 else b""

    async def _write_head(self, response: Response, written: bytes) -> None:
        self._status = response.status
        self._head_at = self.server.clock()
        await self._write(written)

    async def _stream_body(self, body: Body, is_chunked: bool) -> None:
        length = body.length
        while chunk := await body.receive():
            self._sent += len(chunk)
            if length is not None and self._sent > length:
                raise FilterFailed("a body longer than its length")
            await self._write(h1.write_chunk(chunk) if is_chunked else chunk)
        if is_chunked:
            await self._write(h1.write_last_chunk(body.trailers))
        elif length is not None and self._sent != length:
            raise FilterFailed("a body shorter than its length")

    async def _write(self, data: bytes) -> None:
        try:
            await self._send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ClientGone(str(error)) from error
        self.touched = self.server.clock()

    async def _send_informational(self, status: int, headers: Headers) -> None:
        if self._status is None:
            written = h1.write_response(status, headers, 0, is_bodiless=True)
            await self._write(written)

    async def send_continue(self) -> None:
        """Ask the client for the body it is holding back (RFC 9110, 10.1.1)."""
        if self._status is None:
            await self._write(h1.CONTINUE)

    async def _upgrade(self, response: Response) -> None:
        """Hand the connection over to the protocol that both sides agreed on."""
        upgraded = response.upgrade
        assert upgraded is not None
        assert self.exchange is not None
        self._closes = True
        is_switch = response.status == 101
        written = h1.write_response(
            response.status,
            response.headers,
            0,
            is_bodiless=True,
            connection=b"Connection: upgrade\r\n" if is_switch else b"",
        )
        await self._write_head(response, written)
        self.exchange.limits.request = math.inf
        if (watch := getattr(self.stream, "on_hangup", None)) is not None:
            watch(None)  # from here on one side may finish before the other
        early = self.reader.take(len(self.reader))
        moved = await relay(self.stream, upgraded, self.touch, early)
        self._sent = moved.received

    def touch(self) -> None:
        self.touched = self.server.clock()

    # The runtime of the exchange

    def cancel(self, exchange: Exchange) -> None:
        if exchange is self.exchange:
            self._scope.cancel()

    def rearm(self, exchange: Exchange) -> None:
        limits = exchange.limits
        now = self.touched
        self._timer.set(
            min(
                exchange.started + limits.request,
                now + limits.idle,
                now + self.server.limits.stall_timeout,
            )
        )

    def start_soon(
        self, exchange: Exchange, task: Callable[[], Awaitable[None]]
    ) -> None:
        self.server.side_tasks.start(exchange, task)

    def blame(self, owner: str, error: Exception) -> None:
        self.server.blame(owner, error)

    def _hang_up(self) -> None:
        # A client that closes its sending side has gone, as nginx, Envoy and Go take it.
        if self.exchange is not None:
            self.exchange.cancel(ClientGone())

    def _expire(self) -> None:
        exchange = self.exchange
        if exchange is None:
            if not self._is_idle:
                self._cut = BadRequest("no whole head in time", status=408)
            self._closes = self._closes or self._is_idle
            self._scope.cancel()
            return
        moved = getattr(self.stream, "moved", self._moved)
        if moved != self._moved:
            self._moved = moved
            self.touched = self.server.clock()
        error = self._overrun(exchange)
        if error is None:
            self.rearm(exchange)
            self._timer.set(max(self._timer.deadline, self.server.clock() + 0.05))
        else:
            exchange.cancel(error)

    def _overrun(self, exchange: Exchange) -> MeshError | None:
        """Which limit has run out, as the answer it deserves."""
        limits = exchange.limits
        now = self.server.clock()
        if now >= exchange.started + limits.request:
            return DeadlineExceeded(f"request took over {limits.request:g} s")
        quiet = now - self.touched
        if self._body is not None and self._body.is_awaited:
            if quiet >= min(limits.idle, self.server.limits.stall_timeout):
                return BadRequest("the request's body stopped coming", status=408)
        elif self._status is not None and quiet >= self.server.limits.stall_timeout:
            return ClientGone("took no byte of the response")
        if quiet >= limits.idle:
            return DeadlineExceeded(f"no byte moved for {limits.idle:g} s")
        return None

    def __repr__(self) -> str:
        state = "idle" if self._is_idle else "active"
        return f"<Session {self.connection.client}: {state}>"


def _grpc_status(trailers: Headers | None) -> int | None:
    if trailers is None:
        return None
    told = trailers.index.get(b"grpc-status")
    return int(told) if told is not None and told.isdigit() else None
