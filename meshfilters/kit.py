"""An environment for filters without a network, a clock or chance.

``Kit`` has a seeded ``Random``, counted metrics and a clock that moves when told.
``kit.script`` is the service behind the filter, ``kit.ask`` makes a request, ``kit.end``
ends it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from types import TracebackType

import attrs
import trio
import trio.testing

from meshfilters.counters import Labels, Metrics
from meshfilters.env import Env, SpanRecord
from meshfilters.errors import MeshError
from meshfilters.exchange import (
    Attempt,
    Connection,
    Direction,
    Endpoint,
    Exchange,
    Limits,
    Outcome,
)
from meshfilters.memory import stream_pair
from meshfilters.message import EMPTY, Body, Headers, Request, Response
from meshfilters.stream import Certificate, Stream, Tls

Reply = Response | BaseException | Callable[[Request], Response]
Fields = Iterable[tuple[bytes, bytes]]


class Chunks:
    """A body of given chunks, of unknown length unless told; remembers its closing."""

    def __init__(
        self, *chunks: bytes, trailers: Fields = (), length: int | None = None
    ) -> None:
        self.length = length
        self.trailers = Headers(trailers)
        self.is_closed = False
        self.received = 0
        """How many chunks have been taken."""
        self._chunks = chunks

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.is_closed or self.received == len(self._chunks):
            return b""
        self.received += 1
        return self._chunks[self.received - 1]

    async def aclose(self) -> None:
        self.is_closed = True


class Scripted:
    """A service that answers from a list, and keeps what it was asked."""

    def __init__(self, kit: Kit, replies: Iterable[Reply]) -> None:
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        self._kit = kit
        self._replies = list(replies)

    async def __call__(self, request: Request, /) -> Response:
        """Read the request's body, then give the next reply or raise it."""
        self.requests.append(request)
        attempt = self._kit.attempt(request)
        self.bodies.append(await read(request.body))
        if not self._replies:
            raise AssertionError(f"nothing left in the script for {request!r}")
        reply = self._replies.pop(0)
        attempt.ended = self._kit.now
        if isinstance(reply, BaseException):
            attempt.error = reply if isinstance(reply, MeshError) else None
            raise reply
        response = reply if isinstance(reply, Response) else reply(request)
        attempt.head, attempt.status = self._kit.now, response.status
        return response


class Kit:
    """Everything a filter meets, under the test's control.

    Used as ``async with Kit() as kit`` it also runs what a filter starts in the
    background or beside an exchange; without that, such tasks stay unstarted.
    """

    def __init__(
        self, name: str = "filter", direction: Direction = "outbound", seed: int = 0
    ) -> None:
        self.now = 0.0
        """The clock of the exchanges; seconds since 1970 are this plus ``epoch``."""
        self.epoch = 1_700_000_000.0
        self.metrics = Metrics()
        self.spans: list[SpanRecord] = []
        self.blamed: list[tuple[str, Exception]] = []
        """(filter, error) of callbacks and tasks that raised."""
        self.closing: list[Callable[[], None]] = []
        self.background: list[Callable[[], Awaitable[None]]] = []
        self.limits = Limits()
        """What new exchanges start with."""
        self.env = Env(
            filter=name,
            listener="test",
            direction=direction,
            workers=1,
            clock=lambda: self.now,
            time=lambda: self.epoch + self.now,
            random=Random(seed),
            log=logging.getLogger(f"tulle.filter.{name}"),
            metrics=self.metrics,
            host=_KitHost(self),
        )
        self._nursery: trio.Nursery | None = None
        self._scopes: dict[Exchange, list[trio.CancelScope]] = {}

    async def __aenter__(self) -> Kit:
        # Not in the constructor: a synchronous test makes a Kit too.
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        for task in self.background:
            self._nursery.start_soon(task)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
        try:
            return await self._manager.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            if group.exceptions != (error,):
                raise
            return False  # what failed in the test, not a group of it
        finally:
            for callback in self.closing:
                callback()

    def script(self, *replies: Reply) -> Scripted:
        """The innermost service: replies in turn, raises what is an exception."""
        return Scripted(self, replies)

    def ask(
        self,
        method: bytes = b"GET",
        target: bytes = b"/",
        *,
        headers: Fields = ((b"Host", b"service"),),
        body: Body = EMPTY,
        destination: str = "service",
        peer: str | None = None,
        client: str = "192.0.2.1:1234",
    ) -> Request:
        """A request of an exchange of its own; ``peer`` is the client's identity."""
        connection = self.connection(peer=peer, client=client)
        exchange = Exchange(
            connection, self.now, attrs.evolve(self.limits), _KitRuntime(self)
        )
        return Request(method, target, Headers(headers), destination, exchange, body)

    def connection(
        self,
        stream: Stream | None = None,
        *,
        peer: str | None = None,
        client: str = "192.0.2.1:1234",
    ) -> Connection:
        """A client's connection; without a ``stream``, one that nobody writes to."""
        tls = None
        if peer is not None:
            proven = Certificate(peer, (peer,), (), "CN=peer", "ab" * 32)
            tls = Tls("TLSv1.3", "TLS_AES_128_GCM_SHA256", None, None, proven)
        stream = stream_pair()[0] if stream is None else stream
        direction = self.env.direction
        return Connection(stream, client, "test", direction, "192.0.2.2:80", tls)

    def attempt(self, request: Request, address: str = "198.51.100.1:80") -> Attempt:
        """Begin an attempt, as the runtime does before it sends anything."""
        exchange = request.exchange
        attempt = Attempt(
            number=len(exchange.attempts) + 1,
            endpoint=Endpoint(request.destination, address),
            started=self.now,
            headers=request.headers.copy(),
        )
        exchange.begin(attempt)
        return attempt

    def end(
        self,
        request: Request,
        status: int | None = 200,
        error: MeshError | None = None,
        *,
        received: int = 0,
        sent: int = 0,
        grpc_status: int | None = None,
        trailers: Fields | None = None,
    ) -> Outcome:
        """End the request's exchange now; returns the Outcome its callbacks saw."""
        exchange = request.exchange
        for scope in self._scopes.pop(exchange, []):
            scope.cancel()
        outcome = Outcome(
            status=status,
            error=error,
            received=received,
            sent=sent,
            head=None if status is None else self.now - exchange.started,
            seconds=self.now - exchange.started,
            attempts=len(exchange.attempts),
            trailers=None if trailers is None else Headers(trailers),
            grpc_status=grpc_status,
        )
        exchange.end(outcome)
        return outcome

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self.now += seconds

    def counts(self, name: str) -> dict[Labels, float]:
        """The series of a counter by its labels, direction left out."""
        return {
            labels: value
            for (each, _), counter in self.metrics.counters.items()
            if each == name
            for labels, value in counter.values.items()
        }

    @property
    def decisions(self) -> dict[str, float]:
        """How often the filter decided what."""
        found = self.counts("tulle_filter_decisions_total")
        return {str(labels[0]): value for labels, value in found.items()}


@attrs.frozen
class _KitRuntime:
    kit: Kit

    def cancel(self, exchange: Exchange) -> None:
        for scope in self.kit._scopes.get(exchange, []):
            scope.cancel()

    def rearm(self, exchange: Exchange) -> None:
        """The kit's clock only moves when told, so no limit runs out by itself."""

    def start_soon(
        self, exchange: Exchange, task: Callable[[], Awaitable[None]]
    ) -> None:
        scope = trio.CancelScope()
        owner = exchange.owner
        self.kit._scopes.setdefault(exchange, []).append(scope)

        async def run() -> None:
            with scope:
                try:
                    await task()
                except Exception as error:
                    self.blame(owner, error)

        if self.kit._nursery is not None:
            self.kit._nursery.start_soon(run)

    def blame(self, owner: str, error: Exception) -> None:
        self.kit.blamed.append((owner, error))


@attrs.frozen
class _KitHost:
    kit: Kit

    def start_soon(self, owner: str, task: Callable[[], Awaitable[None]]) -> None:
        if self.kit._nursery is not None:
            self.kit._nursery.start_soon(task)
        else:
            self.kit.background.append(task)

    def on_close(self, callback: Callable[[], None]) -> None:
        self.kit.closing.append(callback)

    def export(self, span: SpanRecord) -> None:
        self.kit.spans.append(span)


async def read(body: Body) -> bytes:
    """A whole body."""
    chunks = []
    while chunk := await body.receive():
        chunks.append(chunk)
    return b"".join(chunks)
