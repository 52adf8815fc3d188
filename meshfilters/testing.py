"""The test kit: run a filter without a network, a clock or chance.

``Kit`` is an environment with a seeded ``Random``, counted metrics and a clock that
moves when told. ``kit.script`` is the service behind the filter, ``kit.ask`` makes a
request, ``kit.end`` ends it. ``check_filter``, ``check_connection_filter`` and
``check_dial_filter`` run what every filter of their level must do.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from types import TracebackType

import attrs
import trio
import trio.testing

from meshfilters.api import (
    A,
    B,
    ConnectionFilter,
    DialFilter,
    Filter,
    RequestFilter,
    chain,
)
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
from meshfilters.message import EMPTY, Body, Buffered, Headers, Request, Response
from meshfilters.stream import Certificate, Stream, Tls

Reply = Response | BaseException | Callable[[Request], Response]
Fields = Iterable[tuple[bytes, bytes]]

_TRAILERS = ((b"x-trailer", b"1"),)


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


async def check_filter(build: Callable[[Env], RequestFilter]) -> None:
    """Run the five behaviours every request filter must have; AssertionError if not.

    The filter is asked with plain requests it is expected to let through: it passes
    them and their bodies on, streams both ways without collecting, closes a response
    it does not hand on, lets a cancellation through, and leaves nothing behind.
    """
    await _check_passes_through(build)
    await _check_streams(build)
    await _check_closes(build)
    async with Kit() as kit:
        request = kit.ask()
        await _check_is_cancelled(build(kit.env), request)
        kit.end(request, None)
    await _check_leaves_nothing(build)


async def check_connection_filter(build: Callable[[Env], ConnectionFilter]) -> None:
    """Run what every connection filter must do; AssertionError if it does not.

    It passes a connection on that it is expected to let through, with its bytes both
    ways, and lets a cancellation through. Not for one that speaks TLS.
    """
    async with Kit() as kit:
        client, stream = stream_pair()
        heard: list[bytes] = []

        async def inner(connection: Connection, /) -> None:
            heard.append(await connection.stream.peek(1))
            heard.append(await _receive_all(connection.stream))
            await connection.stream.send_all(b"pong")

        await client.send_all(b"ping")
        await client.send_eof()
        await chain([build(kit.env)], inner)(kit.connection(stream))
        await stream.aclose()
        answered = await _receive_all(client)
        assert heard, "it did not pass the connection on"
        assert heard == [b"p", b"ping"], f"it changed what the client sent to {heard}"
        assert answered == b"pong", f"it changed the answer to {answered!r}"
        await _check_is_cancelled(build(kit.env), kit.connection())


async def check_dial_filter(build: Callable[[Env], DialFilter]) -> None:
    """Run what every dial filter must do; AssertionError if it does not.

    It hands a stream on that passes bytes both ways and closes the one inside it, and
    lets a cancellation through. Not for one that speaks TLS.
    """
    async with Kit() as kit:
        server, dialled = stream_pair()
        endpoint = Endpoint("service", "198.51.100.1:80")

        async def inner(endpoint: Endpoint, /) -> Stream:
            return dialled

        stream = await chain([build(kit.env)], inner)(endpoint)
        await stream.send_all(b"ping")
        await server.send_all(b"pong")
        await server.send_eof()
        answered = await _receive_all(stream)
        await stream.aclose()
        assert dialled.is_closed, "its stream did not close the one inside it"
        heard = await _receive_all(server)
        assert heard == b"ping", f"it changed what was sent to {heard!r}"
        assert answered == b"pong", f"it changed the answer to {answered!r}"
        await _check_is_cancelled(build(kit.env), endpoint)


async def _receive_all(stream: Stream) -> bytes:
    chunks = []
    while chunk := await stream.receive_some():
        chunks.append(chunk)
    return b"".join(chunks)


async def _check_passes_through(build: Callable[[Env], RequestFilter]) -> None:
    async with Kit() as kit:
        upstream = kit.script(Response(204))
        request = kit.ask(b"POST", b"/x", body=Buffered(b"payload"))
        response = await chain([build(kit.env)], upstream)(request)
        assert response.status == 204, f"it changed the status to {response.status}"
        assert upstream.bodies == [b"payload"], "it did not pass the request's body on"
        kit.end(request)


async def _check_streams(build: Callable[[Env], RequestFilter]) -> None:
    async with Kit() as kit:
        sent = Chunks(b"1", b"2", b"3", trailers=_TRAILERS)
        answered = Chunks(b"a", b"b", b"c", trailers=_TRAILERS)
        asked: list[Request] = []

        async def upstream(request: Request, /) -> Response:
            asked.append(request)
            await request.body.receive()
            assert sent.received == 1, "it collected the request's body"
            return Response(200, body=answered)

        request = kit.ask(b"POST", body=sent)
        response = await chain([build(kit.env)], upstream)(request)
        assert answered.received == 0, "it read the response before it was asked to"
        first = await response.body.receive()
        assert first, "it lost the response's first chunk"
        assert answered.received == 1, "it collected the response's body"
        rest = await read(response.body)
        assert first + rest == b"abc", f"it changed the response to {first + rest!r}"
        told = tuple(response.body.trailers)
        assert told == _TRAILERS, f"it changed the response's trailers to {told}"
        await read(asked[0].body)
        told = tuple(asked[0].body.trailers)
        assert told == _TRAILERS, f"it changed the request's trailers to {told}"
        kit.end(request)


async def _check_closes(build: Callable[[Env], RequestFilter]) -> None:
    async with Kit() as kit:
        bodies = [Chunks(b"x"), Chunks(b"x"), Chunks(b"x"), Chunks(b"x"), Chunks(b"x")]
        upstream = kit.script(*(Response(503, body=body) for body in bodies))
        request = kit.ask()
        response = await chain([build(kit.env)], upstream)(request)
        last = bodies[len(upstream.requests) - 1]
        is_read = last.received > 0 and not last.is_closed
        rest = await read(response.body)
        assert rest or not is_read, (
            "it handed a body on that it had read: nothing is left"
        )
        await response.body.aclose()
        left = [body for body in bodies[: len(upstream.requests)] if not body.is_closed]
        assert not left, "it dropped a response without closing its body"
        kit.end(request, 503)


async def _check_is_cancelled(running: Filter[A, B, A, B], asked: A) -> None:
    is_reached = trio.Event()

    async def inner(asked: A, /) -> B:
        is_reached.set()
        await trio.sleep_forever()

    service = chain([running], inner)
    scope = trio.CancelScope()

    async def ask() -> None:
        with scope:
            await service(asked)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await is_reached.wait()
        scope.cancel()
    assert scope.cancelled_caught, "it swallowed a cancellation"


async def _check_leaves_nothing(build: Callable[[Env], RequestFilter]) -> None:
    async with Kit() as kit:
        service = chain([build(kit.env)], kit.script(Response(200), Response(200)))
        for _ in range(2):
            request = kit.ask()
            response = await service(request)
            await read(response.body)
            kit.end(request)
            await trio.testing.wait_all_tasks_blocked()
        assert not kit.blamed, f"a callback or task of it raised: {kit.blamed}"
        assert not kit._scopes, "it left a task behind"
