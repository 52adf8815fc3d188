"""An HTTP/2 server that does what the test says, at the far end of a pool's connection."""

from __future__ import annotations

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from proxy.codec import h2
from proxy.transport.stream import SocketStream
from tests.proxy.upstream.bench import Bench


@attrs.define(eq=False)
class Asked:
    """One request as it came."""

    fields: list[tuple[bytes, bytes]]
    data: bytes = b""
    is_ended: bool = False
    trailers: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    code: int | None = None
    """What it was closed with."""

    def __getitem__(self, name: bytes) -> bytes | None:
        return dict(self.fields).get(name)


class Peer:
    """The server's end; ``turn`` lets both sides go as far as they can."""

    def __init__(self, stream: SocketStream, settings: h2.Settings) -> None:
        self.stream = stream
        self.asked: dict[int, Asked] = {}
        self.pings: list[bytes] = []
        self.goaways: list[tuple[int, int]] = []
        self.has_ended = False
        self.consumes = True
        self.codec = h2.make_codec("server", settings, self)
        self.codec.start()

    async def run(self) -> None:
        """Read until the end."""
        await self.flush()
        try:
            while data := await self.stream.receive_some():
                self.codec.receive(data)
                await self.flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.has_ended = True

    async def flush(self) -> None:
        """Send what the codec has, and let the other side take it."""
        if data := self.codec.take():
            await self.stream.send_all(data)

    async def turn(self) -> None:
        await self.flush()
        await wait_all_tasks_blocked()

    async def answer(
        self, stream: int, status: bytes = b"200", body: bytes | None = None
    ) -> None:
        """Answer a request as a whole."""
        self.codec.respond(stream, [(b":status", status)], is_end=body is None)
        if body is not None:
            self.codec.send(stream, body, is_end=True)
        await self.turn()

    # As the codec's receiver

    def on_head(self, stream: int, fields: h2.Fields, is_end: bool) -> None:
        self.asked[stream] = Asked([*fields], is_ended=is_end)

    def on_informational(self, stream: int, fields: h2.Fields) -> None:
        raise AssertionError("a server is told of no 1xx")

    def on_data(self, stream: int, data: bytes, is_end: bool) -> None:
        asked = self.asked[stream]
        asked.data += data
        asked.is_ended = asked.is_ended or is_end
        if self.consumes:
            self.codec.consumed(stream, len(data))

    def on_trailers(self, stream: int, fields: h2.Fields) -> None:
        self.asked[stream].trailers = [*fields]
        self.asked[stream].is_ended = True

    def on_closed(self, stream: int, code: int, is_ours: bool) -> None:
        self.asked[stream].code = code

    def on_goaway(self, last: int, code: int) -> None:
        self.goaways.append((last, code))

    def on_pong(self, payload: bytes) -> None:
        self.pings.append(payload)

    def on_room(self) -> None: ...


@attrs.define(eq=False)
class Peers:
    """Serves every connection that the bench dials; ``peers`` are in order."""

    bench: Bench
    nursery: trio.Nursery
    settings: h2.Settings
    peers: list[Peer] = attrs.field(factory=list)
    consumes: bool = True
    """Whether they take the bodies that come."""
    is_serving: bool = True
    """Whether what is dialled is served; else the test plays the far end itself."""

    async def run(self) -> None:
        """Take what is dialled, for ever."""
        known = 0
        while True:
            while self.is_serving and known < len(self.bench.peers):
                peer = Peer(self.bench.peers[known], self.settings)
                peer.consumes = self.consumes
                self.peers.append(peer)
                self.nursery.start_soon(peer.run)
                known += 1
            self.bench.dialled = trio.Event()
            if not self.is_serving or known == len(self.bench.peers):
                await self.bench.dialled.wait()
