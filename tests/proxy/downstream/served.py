"""An HTTP server around a service of the test's, and clients that talk to it raw."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from meshfilters.api import RequestFilter, Service
from meshfilters.counters import Labels, Metrics
from meshfilters.errors import MeshError
from meshfilters.exchange import Connection, Outcome
from meshfilters.memory import MemoryStream, stream_pair
from meshfilters.message import Buffered, Request, Response
from meshfilters.stream import Stream
from proxy.chain.pipeline import Blame, Pipeline, Running, Tally, request_pipeline
from proxy.chain.side_tasks import SideTasks
from proxy.config.model import Http as HttpLimits
from proxy.config.model import Http2, Placed
from proxy.downstream.serve import Http
from proxy.downstream.serving import Head
from proxy.transport.deadlines import Deadlines
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream
from proxy.transport.tuning import tune

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET10 = b"GET / HTTP/1.0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OK_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def ok() -> Response:
    return Response(200, body=Buffered(b"ok"))


def post(length: int, *fields: bytes) -> bytes:
    """The head of a request whose body of ``length`` the test sends."""
    more = b"".join(field + b"\r\n" for field in fields)
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n" % (
        length,
        more,
    )


@attrs.frozen
class Nothing:
    """Settings of a filter that the test made itself."""

    def build(self, env: object) -> object:
        raise AssertionError("built by the test")


class Client:
    """One end of a connection; what comes is collected as soon as it is there."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.received = b""
        self._has_ended = False

    async def send(self, data: bytes) -> None:
        """Send, and let the server go as far as it can."""
        await self.stream.send_all(data)
        await wait_all_tasks_blocked()

    async def ask(self, data: bytes) -> bytes:
        """Send, and return what that brought."""
        before = len(self.received)
        await self.send(data)
        return self.received[before:]

    async def run(self, *, reads: bool) -> None:
        """Hold the connection to the test's end, collecting what comes."""
        try:
            if reads:
                await self._collect()
            await trio.sleep_forever()
        finally:
            await self.stream.aclose()

    async def _collect(self) -> None:
        try:
            while data := await self.stream.receive_some():
                self.received += data
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # reset: an end, too
        self._has_ended = True

    def has_ended(self) -> bool:
        """Whether nothing more can come from the server."""
        return self._has_ended


class Deaf(MemoryStream):
    """A stream whose other end takes nothing."""

    async def send_all(self, data: bytes) -> None:
        await trio.sleep_forever()


class Served:
    """A server, what it told, and a clock that the test moves."""

    def __init__(
        self,
        nursery: trio.Nursery,
        service: Service[Request, Response],
        filters: Sequence[tuple[str, RequestFilter]] = (),
        limits: HttpLimits | None = None,
    ) -> None:
        self.nursery = nursery
        self.metrics = Metrics()
        self.outcomes: list[Outcome] = []
        self.refusals: list[int] = []
        self.closed: list[str] = []
        """Filters whose last pipeline is over."""
        self.readiness = Readiness()
        self.blame = Blame(self.metrics)
        deadlines = Deadlines(trio.current_time)
        self.side_tasks = SideTasks(nursery, self.blame)
        self.pipeline = self.chain(service, filters)
        self.http = Http(
            self.pipeline,
            route,
            limits or HttpLimits(),
            Http2(),
            deadlines,
            self.side_tasks,
            self.blame,
            lambda error: self.refusals.append(error.status),
        )
        nursery.start_soon(deadlines.run)
        nursery.start_soon(self.readiness.run)

    def failures(self) -> list[tuple[Labels, float]]:
        """What foreign code was blamed for, by filter and error."""
        [counter] = [
            each
            for (name, _), each in self.metrics.counters.items()
            if name == "tulle_filter_failures_total"
        ]
        return list(counter.values.items())

    def chain(
        self,
        service: Service[Request, Response],
        filters: Sequence[tuple[str, RequestFilter]] = (),
    ) -> Pipeline[Request, Response]:
        """A pipeline in use, whose outermost filter keeps the outcomes."""
        listed = [
            Running(
                Placed(name, Nothing()),
                each,
                Tally(),
                partial(self.closed.append, name),
            )
            for name, each in [("record", self._record), *filters]
        ]
        pipeline = request_pipeline(listed, service, self.blame)
        pipeline.adopt()
        return pipeline

    async def _record(
        self, request: Request, inner: Service[Request, Response], /
    ) -> Response:
        request.exchange.on_end(self.outcomes.append)
        return await inner(request)

    def connect(self, scope: trio.CancelScope | None = None) -> Client:
        """A client over memory streams."""
        ours, theirs = stream_pair()
        return self._start(ours, theirs, scope)

    def connect_deaf(self) -> Client:
        """A client that never takes a byte, from the first."""
        ours, theirs = stream_pair()
        deaf = Deaf(ours._sender, ours._receiver)
        return self._start(deaf, theirs, None)

    def connect_socket(
        self, scope: trio.CancelScope | None = None, *, reads: bool = True
    ) -> Client:
        """A client over a socket pair: hanging up is seen there."""
        one, other = socket.socketpair()
        for each in (one, other):
            tune(each)
        ours = SocketStream(one, self.readiness)
        theirs = SocketStream(other, self.readiness)
        return self._start(ours, theirs, scope, reads=reads)

    def _start(
        self,
        ours: Stream,
        theirs: Stream,
        scope: trio.CancelScope | None,
        *,
        reads: bool = True,
    ) -> Client:
        client = Client(theirs)
        connection = Connection(ours, "192.0.2.1:1234", "web", "inbound")
        self.http.enter()
        self.nursery.start_soon(self._serve, connection, scope or trio.CancelScope())
        self.nursery.start_soon(partial(client.run, reads=reads))
        return client

    async def _serve(self, connection: Connection, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self.http(connection)
        finally:
            self.http.leave()

    @property
    def bugs(self) -> dict[tuple[str | int, ...], float]:
        """(filter, error) of what was no answer."""
        return self.metrics.counter("tulle_filter_failures_total", "", ()).values

    def error(self, nth: int = -1) -> type[MeshError] | None:
        """What the exchange ended with."""
        error = self.outcomes[nth].error
        return None if error is None else type(error)


def route(head: Head, connection: Connection) -> str | None:
    """Everything has a place to go, save the host ``nowhere``."""
    return None if head.host == b"nowhere" else "app"
