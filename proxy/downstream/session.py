"""One client's HTTP/1.1 connection, request after request.

A session reads a head and serves it, in one task for the whole connection
(``serving.py``). Whatever was refused before its last byte was read is answered and then
lingered over, so that the answer is not lost to a reset (RFC 9112, 9.6).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from meshfilters.errors import BadRequest, Draining, MeshError
from meshfilters.exchange import Connection, Exchange, Limits
from meshfilters.message import EMPTY, Body, Response
from meshfilters.stream import Stream
from proxy.codec import h1
from proxy.downstream.body import RequestBody
from proxy.downstream.respond import error_response
from proxy.downstream.response import ResponseWriter
from proxy.downstream.serving import ENDED, FAREWELL, Server, Serving

LINGER = 2.0
"""Seconds a refused client is read from, so that it gets to see why (nginx: 5)."""

MOMENT = 1.0
"""Seconds an idle client's next request is waited for while the proxy ends.

Closed at once, a connection would lose the request that is already on its way.
"""

TURN = 32
"""Requests in a row that may go by without a checkpoint."""

LONG = 13
"""Bits of the bytes that count for a request more: heads of 60 KB take 2 ms each."""


class Session(Serving):
    """One client's connection. ``early`` has been received of it already."""

    _writer: ResponseWriter
    _body: RequestBody | None

    def __init__(
        self, server: Server, connection: Connection, early: bytes = b""
    ) -> None:
        self.stream: Stream = connection.stream
        super().__init__(server, connection, ResponseWriter(self.stream, server.clock))
        self.reader = h1.Reader()
        self.reader.feed(early)
        self.receive: Callable[[], Awaitable[bytes]] = getattr(
            self.stream, "receive_soon", self.stream.receive_some
        )
        self._close_stream: Callable[[], Awaitable[None]] = getattr(
            self.stream, "aclose_soon", self.stream.aclose
        )
        self._cut: MeshError | None = None
        self._is_idle = True
        self._closes = False
        self._asks_for_tunnel = False
        self._turns = TURN
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
            await self._close_stream()

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
            if self._is_cancelled or self._turns <= 0:
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
            self._turns -= len(data) >> LONG
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

    @property
    def is_busy(self) -> bool:
        """Whether an exchange is under way."""
        return self.exchange is not None

    def drain(self) -> None:
        """Close in a moment if idle; otherwise behind the exchange under way."""
        if self._is_idle and self.exchange is None:
            soon = self.server.clock() + MOMENT
            self._timer.set(min(self._timer.deadline, soon))

    def _give_up(self) -> None:
        self._closes = True
        self._cancel_scope()

    # One exchange

    async def _serve_one(self, head: h1.RequestHead) -> None:
        writer = self._writer
        now = writer.touched = self.server.clock()
        writer.begin(head)
        self._closes = not head.keeps_alive or head.method == b"CONNECT"
        self._asks_for_tunnel = b"upgrade" in head.headers.index
        exchange = Exchange(self.connection, now, Limits(), self)
        if head.is_http10:
            exchange.version = "1.0"
        else:
            exchange.informational = writer.inform
        body = self._take(head)
        if getattr(self.stream, "has_hung_up", False):
            self.exchange = exchange
            self._hang_up()
        await self._serve_exchange(exchange, head, body)

    def _take(self, head: h1.RequestHead) -> Body:
        decoder = head.decoder
        if decoder is None:
            return EMPTY
        limit = self.server.limits.max_body
        body = RequestBody(self, decoder, head.expects_continue, limit)
        self._body = body
        return body.whole() or body

    async def _respond(self, response: Response) -> None:
        if response.upgrade is not None:
            await self._upgrade(response, response.upgrade)
            return
        if self.server.is_draining or (self._asks_for_tunnel and self._has_early()):
            self._closes = True
        if self._body is not None and not self._body.may_continue():
            self._closes = True
        if not await self._writer.respond(response, closes=self._closes):
            self._closes = True

    def _has_early(self) -> bool:
        """Whether something has come behind the request under way.

        Where its tunnel is refused, that was meant for the tunnel, and is no request:
        somebody before us may have passed it on unseen (GHSA-xq2h-p299-vjwv).
        """
        return bool(self.reader.data) or getattr(self.stream, "is_stale", False)

    async def _upgrade(self, response: Response, upgraded: Stream) -> None:
        """Hand the connection over to the protocol that both sides agreed on."""
        self._closes = True
        await self._writer.switch(response)
        self._on_hangup(None)  # from here on one side may finish before the other
        early = self.reader.take(len(self.reader))
        await self._tunnel(self.stream, upgraded, early)

    async def _settle(self, *, is_owed: bool, has_answer: bool) -> None:
        self._closes = True
        if has_answer:
            # What the client does behind its answer is no part of the exchange.
            self._timer.set(math.inf)
            with suppress(*ENDED):
                await self._linger()

    async def _break_off(self, error: MeshError) -> None:
        self._closes = True
        abort = getattr(self.stream, "abort", None)
        if abort is not None:
            abort()
        else:
            await self.stream.aclose()

    def _before_answer(self, error: MeshError) -> None:
        has_body_left = self._body is not None and not self._body.discard()
        self._closes = self._closes or error.closes or has_body_left

    def _unanswered(self) -> None:
        self._closes = True

    def _end(self, error: MeshError | None) -> None:
        super()._end(error)
        self._writer.begin(None)

    # The client, for the request's body

    async def send_continue(self) -> None:
        await self._writer.send_continue()

    # What ends an exchange, or the wait for one, from outside

    def _expire(self) -> None:
        if self.exchange is not None:
            super()._expire()
        elif self._is_idle:
            self._give_up()
        else:
            self._cut = BadRequest("no whole head in time", status=408)
            self._cancel_scope()

    def _has_moved(self) -> bool:
        moved = getattr(self.stream, "moved", 0)
        if moved == self._moved:
            return False
        self._moved = moved
        return True

    def __repr__(self) -> str:
        state = "active" if self.exchange is not None else "idle"
        return f"<Session {self.connection.client}: {state}>"
