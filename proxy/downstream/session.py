"""One client's HTTP/1.1 connection, request after request.

A session reads a head, runs the pipeline, writes
the response, and ends the exchange, in one task and one cancel scope for the whole
connection; the scope is replaced when an exchange was cancelled. Two rules:

1. Every exchange that was begun is ended, once, whatever happened.
2. Whatever was refused before its last byte was read is answered and then lingered
   over, so that the answer is not lost to a reset (RFC 9112, 9.6).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import trio

from meshfilters.errors import (
    BadRequest,
    ClientGone,
    Draining,
    FilterFailed,
    MeshError,
    NoRoute,
    Refused,
)
from meshfilters.exchange import Connection, Exchange, Limits, Outcome
from meshfilters.message import EMPTY, Body, Headers, Request, Response
from meshfilters.stream import Stream
from proxy.chain.pipeline import FORWARD, Blame, Pipeline
from proxy.chain.side_tasks import SideTasks
from proxy.codec import h1
from proxy.config.model import Http as HttpLimits
from proxy.downstream.body import RequestBody
from proxy.downstream.overrun import Quiet, next_look, overrun
from proxy.downstream.respond import error_response
from proxy.downstream.response import ResponseWriter
from proxy.transport.deadlines import Deadlines
from proxy.transport.relay import Moved, relay

LINGER = 2.0
"""Seconds a refused client is read from, so that it gets to see why (nginx: 5)."""

FAREWELL = 5.0
"""Seconds that writing an error may take."""

MOMENT = 1.0
"""Seconds an idle client's next request is waited for while the proxy ends.

Closed at once, a connection would lose the request that is already on its way.
"""

TURN = 32
"""Requests in a row that may go by without a checkpoint."""

UNNAMED = "one of the chain"
"""The filter that is blamed when it can't be told which one it was."""

ENDED = (trio.BrokenResourceError, trio.ClosedResourceError, ClientGone)


class Server(Protocol):
    """What a session needs of the listener it belongs to: ``serve.Http``."""

    pipeline: Pipeline[Request, Response]
    route: Callable[[h1.RequestHead], str | None]
    limits: HttpLimits
    deadlines: Deadlines
    clock: Callable[[], float]
    side_tasks: SideTasks
    blame: Blame
    refused: Callable[[MeshError], None]
    is_draining: bool


class Session:
    """One client's connection; also the runtime of its exchanges."""

    def __init__(self, server: Server, connection: Connection) -> None:
        self.server = server
        self.connection = connection
        self.stream: Stream = connection.stream
        self.reader = h1.Reader()
        self.receive: Callable[[], Awaitable[bytes]] = getattr(
            self.stream, "receive_soon", self.stream.receive_some
        )
        self.exchange: Exchange | None = None
        self._writer = ResponseWriter(self.stream, server.clock)
        self._timer = server.deadlines.timer(self._expire)
        self._scope = trio.CancelScope()
        # What the scope knows too, but asking it costs 0.5 µs.
        self._is_cancelled = False
        self._cut: MeshError | None = None
        self._is_idle = True
        self._closes = False
        self._turns = TURN
        self._request: Request | None = None
        self._body: RequestBody | None = None
        self._moved = 0

    # The connection

    async def run(self) -> None:
        """Serve until either side is done; closes the stream."""
        self._on_hangup(self._hang_up)
        try:
            while True:
                self._is_cancelled = False
                with trio.CancelScope() as self._scope:
                    await self._serve()
                    return
                if not await self._answer_cancelled():
                    return
        except ENDED:
            pass
        finally:
            self._timer.close()
            if self.exchange is not None:
                # Cancelled from outside: the worker's grace is over.
                await self.server.side_tasks.join(self.exchange)
                self._end(self.exchange.reason or Draining())
            await self.stream.aclose()

    def _on_hangup(self, callback: Callable[[], None] | None) -> None:
        watch = getattr(self.stream, "on_hangup", None)
        if watch is not None:
            watch(callback)

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
            await self._serve_one(head)
            self._turns -= 1
            if self._is_cancelled or not self._turns:
                # Let a cancellation that came too late fire here, and not on the next
                # exchange; and leave the other connections their turn.
                self._turns = TURN
                self._timer.set(math.inf)
                await trio.lowlevel.checkpoint()

    async def _next_head(self) -> h1.RequestHead | None:
        server, reader, timer = self.server, self.reader, self._timer
        limits = server.limits
        self._is_idle = not reader.data
        patience = limits.keep_alive if self._is_idle else limits.head_timeout
        if server.is_draining and self._is_idle:
            patience = min(patience, MOMENT)
        timer.set(server.clock() + patience)
        has_begun = not self._is_idle
        while True:
            if reader.data:
                head = h1.read_request(reader, limits)
                if head is not None:
                    return head
                if not has_begun:
                    has_begun = True
                    timer.set(server.clock() + limits.head_timeout)
            data = await self.receive()
            if not data:
                return None
            reader.feed(data)
            if self._closes or self._cut is not None:
                # Given up in the very moment these bytes came: let that fire here, and
                # not in the exchange they begin.
                await trio.lowlevel.checkpoint()
            self._is_idle = False

    async def _answer_cancelled(self) -> bool:
        """After the scope fired: answer if that is due; True to go on serving."""
        if self.exchange is not None:
            await self._finish(self.exchange.reason)
        elif self._cut is not None:
            await self._refuse(self._cut)
        elif self._is_idle and self.reader.data:
            self._closes = False  # a request came after all
        return not self._closes

    async def _refuse(self, error: MeshError, *, is_head: bool = False) -> None:
        """Answer what never became an exchange, and close."""
        self._closes = True
        self._timer.close()
        self.server.refused(error)
        with trio.move_on_after(FAREWELL):
            response = error_response(error, None)
            await self._writer.refuse(response, is_head=is_head)
            await self._linger()

    async def _linger(self) -> None:
        with trio.move_on_after(LINGER):
            await self.stream.send_eof()
            while await self.receive():
                pass

    def drain(self) -> None:
        """Close in a moment if idle; otherwise behind the exchange under way."""
        if self._is_idle and self.exchange is None:
            soon = self.server.clock() + MOMENT
            self._timer.set(min(self._timer.deadline, soon))

    def _give_up(self) -> None:
        self._closes = True
        self._cancel_scope()

    def _cancel_scope(self) -> None:
        self._is_cancelled = True
        self._scope.cancel()

    # One exchange

    async def _serve_one(self, head: h1.RequestHead) -> None:
        server, writer = self.server, self._writer
        now = writer.touched = server.clock()
        writer.begin(head)
        # Behind a CONNECT that is refused may come what was meant for its tunnel.
        self._closes = not head.keeps_alive or head.method == b"CONNECT"
        exchange = Exchange(self.connection, now, Limits(), self)
        if head.is_http10:
            exchange.version = "1.0"
        else:
            exchange.informational = writer.inform
        self.exchange = exchange
        if getattr(self.stream, "has_hung_up", False):
            self._hang_up()
        self._timer.set(now + server.limits.stall_timeout)
        pipeline = server.pipeline
        pipeline.active += 1
        error: MeshError | None = None
        try:
            self._request = Request(
                head.method, head.target, head.headers, "", exchange, self._take(head)
            )
            self._request.destination = self._destination(head)
            await self._respond(await pipeline.service(self._request))
        except MeshError as raised:
            error = raised
            if type(error) is FilterFailed and error.by in (None, FORWARD):
                # It shows only when bytes are written: whose it was is not known.
                server.blame(UNNAMED, error)
        except Exception as raised:
            # A body that a filter put in the place of another failed.
            server.blame(exchange.owner or "body", raised)
            error = FilterFailed(f"a body raised {type(raised).__name__}")
        finally:
            pipeline.leave()
        await self._finish(error)

    def _take(self, head: h1.RequestHead) -> Body:
        decoder = head.decoder
        if decoder is None:
            return EMPTY
        limit = self.server.limits.max_body
        body = RequestBody(self, decoder, head.expects_continue, limit)
        self._body = body
        return body.whole() or body

    def _destination(self, head: h1.RequestHead) -> str:
        if head.method == b"CONNECT" and not self.server.limits.connect:
            raise Refused("CONNECT is off on this listener", status=405)
        if self._body is not None:
            self._body.check_length()
        destination = self.server.route(head)
        if destination is None:
            raise NoRoute(f"no service is named {head.host.decode('latin-1')}")
        return destination

    async def _respond(self, response: Response) -> None:
        if response.upgrade is not None:
            await self._upgrade(response, response.upgrade)
            return
        if self.server.is_draining:
            self._closes = True
        if self._body is not None and not self._body.may_continue():
            self._closes = True
        if not await self._writer.respond(response, closes=self._closes):
            self._closes = True

    async def _upgrade(self, response: Response, upgraded: Stream) -> None:
        """Hand the connection over to the protocol that both sides agreed on."""
        self._closes = True
        await self._writer.switch(response)
        if self.exchange is not None:
            self.exchange.limits.request = math.inf
        self._on_hangup(None)  # from here on one side may finish before the other
        early = self.reader.take(len(self.reader))
        moved = Moved()
        try:
            await relay(self.stream, upgraded, self.touch, moved, early)
        finally:
            self._writer.sent = moved.received

    async def _finish(self, error: MeshError | None) -> None:
        """Answer an error if no head is out yet, and end the exchange."""
        exchange, body = self.exchange, self._body
        assert exchange is not None
        if exchange in self.server.side_tasks:
            await self.server.side_tasks.join(exchange)
        if error is not None:
            await self._answer(error)
        is_owed = body is not None and not body.discard()
        has_answer = error is None or self._writer.status == error.status
        self._end(error)
        if is_owed:
            self._closes = True
            if has_answer:
                # What the client does behind its answer is no part of the exchange.
                self._timer.set(math.inf)
                with suppress(*ENDED):
                    await self._linger()

    async def _answer(self, error: MeshError) -> None:
        writer = self._writer
        # Nothing can follow half of a head, be it a response's or a 1xx's.
        is_torn = writer.status is not None or writer.is_sending
        if is_torn or isinstance(error, ClientGone):
            # Behind a head there is no other way to say that the rest won't come.
            self._closes = True
            abort = getattr(self.stream, "abort", None)
            if abort is not None:
                abort()
            else:
                await self.stream.aclose()
            return
        has_body_left = self._body is not None and not self._body.discard()
        self._closes = self._closes or error.closes or has_body_left
        response = error_response(error, self._request)
        with suppress(ClientGone), trio.move_on_after(FAREWELL):
            await self._respond(response)
            return
        self._closes = True

    def _end(self, error: MeshError | None) -> None:
        exchange, body, writer = self.exchange, self._body, self._writer
        assert exchange is not None
        now = self.server.clock()
        started, head_at = exchange.started, writer.head_at
        for attempt in exchange.attempts:
            if attempt.ended is None and attempt.give_up is not None:
                self._give_up_attempt(attempt.give_up)
        # An idle connection holds nothing of its last exchange.
        self.exchange = self._request = self._body = None
        exchange.end(
            Outcome(
                writer.status,
                error,
                body.received if body is not None else 0,
                writer.sent,
                None if head_at is None else head_at - started,
                now - started,
                len(exchange.attempts),
                writer.trailers,
                _grpc_status(writer.trailers),
            )
        )
        writer.begin(None)

    def _give_up_attempt(self, give_up: Callable[[], bool]) -> None:
        if give_up():
            dropped = FilterFailed("a response was dropped and its body not closed")
            self.server.blame(UNNAMED, dropped)

    # The client, for the request's body

    async def send_continue(self) -> None:
        await self._writer.send_continue()

    def touch(self) -> None:
        """A byte has moved."""
        self._writer.touched = self.server.clock()

    # The runtime of the exchange

    def cancel(self, exchange: Exchange) -> None:
        if exchange is self.exchange:
            self._cancel_scope()

    def rearm(self, exchange: Exchange) -> None:
        limits, patience = exchange.limits, self.server.limits.stall_timeout
        if exchange is not self.exchange:
            return
        if limits.idle >= patience and limits.request == math.inf:
            return  # the timer looks sooner as it is
        now, touched = self.server.clock(), self._writer.touched
        self._timer.set(next_look(exchange, touched, now, patience))

    def start_soon(
        self, exchange: Exchange, task: Callable[[], Awaitable[None]]
    ) -> None:
        if exchange is not self.exchange:
            raise RuntimeError("the exchange is over: nothing would end this task")
        self.server.side_tasks.start(exchange, task)

    def blame(self, owner: str, error: Exception) -> None:
        self.server.blame(owner, error)

    # What ends an exchange, or the wait for one, from outside

    def _hang_up(self) -> None:
        # A client that closes its sending side has gone, as nginx, Envoy and Go take it.
        if self.exchange is not None:
            self.exchange.cancel(ClientGone())

    def _expire(self) -> None:
        exchange = self.exchange
        if exchange is None:
            if self._is_idle:
                self._give_up()
            else:
                self._cut = BadRequest("no whole head in time", status=408)
                self._cancel_scope()
            return
        moved = getattr(self.stream, "moved", 0)
        if moved != self._moved:
            self._moved = moved
            self.touch()
        now, patience = self.server.clock(), self.server.limits.stall_timeout
        quiet = Quiet(
            now - self._writer.touched,
            is_client_sending=self._body is not None and self._body.is_awaited,
            is_client_taking=self._writer.is_sending,
        )
        error = overrun(exchange, quiet, now, patience)
        if error is not None:
            exchange.cancel(error)
        else:
            self._timer.set(next_look(exchange, self._writer.touched, now, patience))

    def __repr__(self) -> str:
        state = "active" if self.exchange is not None else "idle"
        return f"<Session {self.connection.client}: {state}>"


def _grpc_status(trailers: Headers | None) -> int | None:
    if trailers is None:
        return None
    told = trailers.index.get(b"grpc-status")
    return int(told) if told is not None and told.isdigit() else None
