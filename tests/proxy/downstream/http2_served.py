"""A client that speaks HTTP/2 to a server of the test's, stream by stream."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from meshfilters import openssl
from meshfilters.api import RequestFilter, Service
from meshfilters.certificates import Material
from meshfilters.exchange import Connection
from meshfilters.memory import stream_pair
from meshfilters.message import Request, Response
from meshfilters.stream import Stream, Tls
from proxy.codec import h2
from proxy.config.model import Http as HttpLimits
from proxy.config.model import Http2
from proxy.downstream.multiplexed import ServerConnection
from proxy.transport.stream import SocketStream
from proxy.transport.tuning import tune
from tests import authority
from tests.proxy.downstream.served import Served

GET = (
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"app"),
    (b":path", b"/"),
)
POST = ((b":method", b"POST"), *GET[1:])


@attrs.define(eq=False)
class Answer:
    """What came on one stream."""

    fields: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    informational: list[bytes] = attrs.field(factory=list)
    data: bytes = b""
    trailers: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    is_ended: bool = False
    code: int | None = None

    @property
    def status(self) -> int | None:
        return int(dict(self.fields)[b":status"]) if self.fields else None

    def __getitem__(self, name: bytes) -> bytes | None:
        return dict(self.fields).get(name)


class Http2Client:
    """The client's end; what it is sent is consumed unless ``consumes`` is taken back."""

    session: ServerConnection
    """The server's end."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.consumes = True
        self.reads = trio.Event()
        """Replaced by one that is not set, it is waited for before the next read."""
        self.reads.set()
        self.has_ended = False
        self.codec = h2.make_codec("client", h2.Settings(), self)
        self.codec.start()

    def first(self) -> bytes:
        """The preface and a request, to be handed to the server as received already."""
        self.answers[self.codec.open([*GET], is_end=True)] = Answer()
        return self.codec.take()

    async def run(self) -> None:
        try:
            while data := await self.stream.receive_some():
                self.codec.receive(data)
                await self._flush()
                await self.reads.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.has_ended = True

    async def _flush(self) -> None:
        if data := self.codec.take():
            await self.stream.send_all(data)

    async def turn(self) -> None:
        """Send what there is, and let the server go as far as it can."""
        await self._flush()
        await wait_all_tasks_blocked()

    async def ask(
        self, fields: Sequence[tuple[bytes, bytes]] = GET, *, is_end: bool = True
    ) -> Answer:
        stream = self.codec.open([*fields], is_end=is_end)
        self.answers[stream] = answer = Answer()
        await self.turn()
        return answer

    # As the codec's receiver

    def on_head(self, stream: int, fields: h2.Fields, is_end: bool) -> None:
        self.answers[stream].fields = [*fields]
        self.answers[stream].is_ended = is_end

    def on_informational(self, stream: int, fields: h2.Fields) -> None:
        self.answers[stream].informational.append(fields[0][1])

    def on_data(self, stream: int, data: bytes, is_end: bool) -> None:
        answer = self.answers[stream]
        answer.data += data
        answer.is_ended = answer.is_ended or is_end
        if self.consumes:
            self.codec.consumed(stream, len(data))

    def on_trailers(self, stream: int, fields: h2.Fields) -> None:
        self.answers[stream].trailers = [*fields]
        self.answers[stream].is_ended = True

    def on_closed(self, stream: int, code: int, is_ours: bool) -> None:
        self.answers[stream].code = code

    def on_goaway(self, last: int, code: int) -> None:
        self.goaways.append((last, code))

    def on_pong(self, payload: bytes) -> None: ...

    def on_room(self) -> None: ...


@asynccontextmanager
async def http2_served(
    service: Service[Request, Response],
    filters: Sequence[tuple[str, RequestFilter]] = (),
    limits: HttpLimits | None = None,
    http2: Http2 | None = None,
    alpn: str | None = None,
    *,
    sockets: bool = False,
    tls: bool = False,
    is_early: bool = False,
    prepare: Callable[[ServerConnection], None] | None = None,
) -> AsyncIterator[tuple[Served, Http2Client]]:
    """A server with one HTTP/2 client; the exchanges' outcomes are in the first."""
    async with trio.open_nursery() as nursery:
        served = Served(nursery, service, filters, limits)
        served.http.http2 = http2 or Http2(ping_interval=None)
        near: Stream
        far: Stream
        near, far = _sockets(served) if sockets or tls else stream_pair()
        if tls:
            near, far = await _tls(near, far)
        told = Tls("TLSv1.3", "c", alpn, None, None) if alpn else None
        connection = Connection(far, "192.0.2.1:1", "web", "inbound", "", told)
        client = Http2Client(near)
        first = client.first() if is_early else b""
        session = client.session = ServerConnection(served.http, connection, first)
        served.http.sessions.add(session)
        if prepare is not None:
            prepare(session)
        nursery.start_soon(session.run)
        nursery.start_soon(client.run)
        await client.turn()
        yield served, client
        await near.aclose()
        nursery.cancel_scope.cancel()
    served.readiness.close()


def _sockets(served: Served) -> tuple[SocketStream, SocketStream]:
    pair = socket.socketpair()
    for each in pair:
        tune(each)
    one, other = (SocketStream(each, served.readiness) for each in pair)
    return one, other


async def _tls(near: Stream, far: Stream) -> tuple[Stream, Stream]:
    """TLS between two streams: the client's end and the server's."""
    root = authority.root()
    issued = root.issue(dns=["app.test"])
    proof = Material((issued.certificate,), issued.key, (root.certificate,))
    server = openssl.server_context(
        proof, minimum=1.3, alpn=("h2",), is_client_required=False
    )
    context = openssl.client_context(
        Material((), None, (root.certificate,)), minimum=1.3, alpn=("h2",)
    )
    ends: list[Stream] = []

    async def accept() -> None:
        ends.append(await far.start_tls(server, server_side=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        opened = await near.start_tls(
            context, server_side=False, server_name="app.test"
        )
    return opened, ends[0]
