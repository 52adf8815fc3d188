"""Exchanges served one behind the other in one task, whatever the protocol.

It begins an exchange, runs the pipeline, has the response written, and ends the exchange,
in one task and one cancel scope; the scope is replaced when an exchange was cancelled. A
connection's HTTP/1.1 session is such a task, and so is each lane of an HTTP/2 one. The rule:
every exchange that was begun is ended, once, whatever happened.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import trio

from meshfilters.errors import ClientGone, FilterFailed, MeshError, NoRoute, Refused
from meshfilters.exchange import Connection, Exchange, Outcome
from meshfilters.grpc import status_in
from meshfilters.message import Body, Headers, Request, Response
from meshfilters.stream import Stream
from proxy.chain.pipeline import FORWARD, Blame, Pipeline
from proxy.chain.side_tasks import SideTasks
from proxy.config.model import Http as HttpLimits
from proxy.config.model import Http2
from proxy.downstream.overrun import Quiet, next_look, overrun
from proxy.downstream.respond import error_response
from proxy.transport.deadlines import Deadlines
from proxy.transport.relay import Moved, relay

FAREWELL = 5.0
"""Seconds that writing an error may take."""

UNNAMED = "one of the chain"
"""The filter that is blamed when it can't be told which one it was."""

ENDED = (trio.BrokenResourceError, trio.ClosedResourceError, ClientGone)


class Head(Protocol):
    """What serving needs to know of a request's head, of either protocol."""

    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def host(self) -> bytes:
        """Without its port, lower-case."""
        ...


class Server(Protocol):
    """What a session needs of the listener it belongs to: ``serve.Http``."""

    pipeline: Pipeline[Request, Response]
    route: Callable[[Head, Connection], str | None]
    limits: HttpLimits
    http2: Http2
    deadlines: Deadlines
    clock: Callable[[], float]
    side_tasks: SideTasks
    blame: Blame
    refused: Callable[[MeshError], None]
    is_draining: bool


class Incoming(Protocol):
    """A request's body as serving sees it."""

    received: int
    is_awaited: bool

    def check_length(self) -> None:
        """Raise BadRequest if it is known to be over the listener's limit."""
        ...

    def discard(self) -> bool:
        """Drop what is here of it unread; True if that was all, to its last byte."""
        ...


class Writer(Protocol):
    """A response's way to the client, as serving sees it."""

    touched: float
    is_sending: bool
    status: int | None
    head_at: float | None
    sent: int
    trailers: Headers | None


class Serving(ABC):
    """One task that serves exchanges; also the runtime of its exchanges."""

    def __init__(self, server: Server, connection: Connection, writer: Writer) -> None:
        self.server = server
        self.connection = connection
        self.exchange: Exchange | None = None
        self._writer = writer
        self._timer = server.deadlines.timer(self._expire)
        self._scope = trio.CancelScope()
        # What the scope knows too, but asking it costs 0.5 µs.
        self._is_cancelled = False
        self._request: Request | None = None
        self._body: Incoming | None = None
        self._relayed: Moved | None = None
        """Of the tunnel that the exchange under way has become."""

    # What differs

    @abstractmethod
    async def _respond(self, response: Response) -> None:
        """Write a response, to its last byte."""

    @abstractmethod
    async def _break_off(self, error: MeshError) -> None:
        """Say that a response whose head is out won't be whole."""

    @abstractmethod
    def _before_answer(self, error: MeshError) -> None:
        """An error is about to be answered."""

    @abstractmethod
    def _unanswered(self) -> None:
        """Writing an error took too long, or the client had gone."""

    @abstractmethod
    async def _settle(self, *, is_owed: bool, has_answer: bool) -> None:
        """See to what the client may still send of its request's body, if ``is_owed``."""

    # One exchange

    async def _serve_exchange(self, exchange: Exchange, head: Head, body: Body) -> None:
        """Run an exchange from its head to its end."""
        server = self.server
        self.exchange = exchange
        self._timer.set(exchange.started + server.limits.stall_timeout)
        pipeline = server.pipeline
        pipeline.active += 1
        error: MeshError | None = None
        try:
            self._request = Request(
                head.method, head.target, head.headers, "", exchange, body
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

    def _destination(self, head: Head) -> str:
        if head.method == b"CONNECT" and not self.server.limits.connect:
            raise Refused("CONNECT is off on this listener", status=405)
        if self._body is not None:
            self._body.check_length()
        destination = self.server.route(head, self.connection)
        if destination is None:
            raise NoRoute(f"no service is named {head.host.decode('latin-1')}")
        return destination

    async def _tunnel(self, near: Stream, far: Stream, early: bytes = b"") -> None:
        """Pass on bytes of another protocol, for as long as both sides want."""
        assert self.exchange is not None
        self.exchange.limits.request = math.inf
        self._relayed = Moved()
        await relay(near, far, self.touch, self._relayed, early)

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
            await self._settle(is_owed=is_owed, has_answer=has_answer)

    async def _answer(self, error: MeshError) -> None:
        writer = self._writer
        # Nothing can follow half of a head, be it a response's or a 1xx's.
        is_torn = writer.status is not None or writer.is_sending
        if is_torn or isinstance(error, ClientGone):
            # Behind a head there is no other way to say that the rest won't come.
            await self._break_off(error)
            return
        self._before_answer(error)
        response = error_response(error, self._request)
        with suppress(ClientGone), trio.move_on_after(FAREWELL):
            await self._respond(response)
            return
        self._unanswered()

    def _end(self, error: MeshError | None) -> None:
        exchange, body, writer = self.exchange, self._body, self._writer
        assert exchange is not None
        received, sent = body.received if body is not None else 0, writer.sent
        if self._relayed is not None:
            received, sent = self._relayed.sent, self._relayed.received
        now = self.server.clock()
        started, head_at = exchange.started, writer.head_at
        for attempt in exchange.attempts:
            if attempt.ended is None and attempt.give_up is not None:
                self._give_up_attempt(attempt.give_up)
        # An idle connection holds nothing of its last exchange.
        self.exchange = self._request = self._body = self._relayed = None
        exchange.end(
            Outcome(
                writer.status,
                error,
                received,
                sent,
                None if head_at is None else head_at - started,
                now - started,
                len(exchange.attempts),
                writer.trailers,
                None if writer.trailers is None else status_in(writer.trailers),
            )
        )

    def _give_up_attempt(self, give_up: Callable[[], bool]) -> None:
        if give_up():
            dropped = FilterFailed("a response was dropped and its body not closed")
            self.server.blame(UNNAMED, dropped)

    def _cancel_scope(self) -> None:
        self._is_cancelled = True
        self._scope.cancel()

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

    # What ends an exchange from outside

    def _hang_up(self) -> None:
        # A client that closes its sending side has gone, as nginx, Envoy and Go take it.
        if self.exchange is not None:
            self.exchange.cancel(ClientGone())

    def _has_moved(self) -> bool:
        """Whether bytes went that nobody has told of: of a slow big write, say."""
        return False

    def _expire(self) -> None:
        """A limit of the exchange under way may have run out."""
        exchange = self.exchange
        if exchange is None:
            return
        if self._has_moved():
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
