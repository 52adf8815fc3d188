"""One connection: its streams end once, its peer is asked, its last words are heard."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.memory import MemoryStream, stream_pair
from proxy.codec import h2
from proxy.config.model import Http2
from proxy.transport.deadlines import Deadlines
from proxy.transport.http2.channel import Channel
from proxy.transport.http2.connection import Multiplexed
from tests.proxy.codec.h2.ends import GET, End


class Server(Multiplexed):
    """Keeps the streams it is told of."""

    def __init__(
        self, stream: MemoryStream, deadlines: Deadlines, settings: Http2
    ) -> None:
        codec = h2.make_codec("server", h2.Settings(), self)
        super().__init__(stream, codec, deadlines, settings)
        self.closed: list[tuple[int, int]] = []
        self.is_silent = False
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            await self.communicate()

    def cancel(self) -> None:
        self.scope.cancel()

    def on_silence(self) -> None:
        self.is_silent = True

    def on_head(self, stream: int, fields: h2.Fields, is_end: bool) -> None:
        self.streams[stream] = Channel(self, stream)

    def on_closed(self, stream: int, code: int, is_ours: bool) -> None:
        self.streams.pop(stream).close(code, None)
        self.closed.append((stream, code))


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


class Talk:
    """A server that communicates, and the other end of its stream."""

    def __init__(self, nursery: trio.Nursery, settings: Http2 | None = None) -> None:
        self.deadlines = Deadlines(trio.current_time)
        self.near, far = stream_pair()
        self.server = Server(far, self.deadlines, settings or Http2())
        self.client = End("client")
        nursery.start_soon(self.deadlines.run)
        nursery.start_soon(self.server.run)

    async def turn(self) -> None:
        """Say what the client has to say, and hear what comes."""
        if data := self.client.codec.take():
            await self.near.send_all(data)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.01):
            while data := await self.near.receive_some():
                self.client.codec.receive(data)
        if data := self.client.codec.take():
            await self.near.send_all(data)
        await wait_all_tasks_blocked()


async def test_the_end_of_the_connection_is_its_streams(clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        talk = Talk(nursery)
        for _ in range(2):
            talk.client.codec.open(GET, is_end=False)
        await talk.turn()
        assert len(talk.server.streams) == 2
        await talk.near.aclose()
        await wait_all_tasks_blocked()

        assert talk.server.closed == [(1, h2.CANCEL), (3, h2.CANCEL)]
        assert talk.server.is_over
        nursery.cancel_scope.cancel()


async def test_nonsense_is_answered_with_a_goaway(clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        talk = Talk(nursery)
        talk.client.codec.open(GET, is_end=False)
        await talk.turn()
        await talk.near.send_all(b"\x00\x00\x00\x09\x00\x00\x00\x00\x00")
        await talk.turn()

        assert talk.client.goaways[-1][1] == h2.PROTOCOL_ERROR
        assert talk.server.is_over
        assert [stream for stream, _ in talk.server.closed] == [1]
        nursery.cancel_scope.cancel()


async def test_finishing_sends_what_is_queued(clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        talk = Talk(nursery)
        stream = talk.client.codec.open(GET, is_end=True)
        await talk.turn()
        talk.server.codec.respond(stream, [(b":status", b"204")], is_end=True)
        talk.server.wake()
        await wait_all_tasks_blocked()
        talk.server.codec.end()
        talk.server.wake()
        talk.server.finish()
        await talk.turn()

        assert talk.client.heads == [(1, [(b":status", b"204")], True)]
        assert talk.server.is_over
        nursery.cancel_scope.cancel()


async def test_who_answers_no_ping_is_given_up(clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        talk = Talk(nursery)
        await talk.turn()
        clock.jump(10.1)
        await wait_all_tasks_blocked()
        clock.jump(3.1)
        await wait_all_tasks_blocked()

        assert talk.server.is_silent
        assert talk.server.is_over
        nursery.cancel_scope.cancel()


async def test_who_answers_is_kept(clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        talk = Talk(nursery)
        for _ in range(4):
            await talk.turn()
            clock.jump(10.1)
            await talk.turn()

        assert not talk.server.is_over
        nursery.cancel_scope.cancel()


async def test_data_for_nobody_is_consumed(clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        talk = Talk(nursery)
        stream = talk.client.codec.open(GET, is_end=False)
        await talk.turn()
        talk.server.streams.pop(stream)
        talk.client.codec.send(stream, b"x" * 200_000, is_end=False)
        for _ in range(8):
            await talk.turn()

        assert talk.client.codec.queued(stream) == 0
        nursery.cancel_scope.cancel()


async def test_a_reset_goes_behind_what_is_queued(clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        talk = Talk(nursery)
        stream = talk.client.codec.open(GET, is_end=False)
        await talk.turn()
        talk.server.codec.respond(stream, [(b":status", b"413")], is_end=True)
        talk.server.streams[stream].reset_behind(h2.NO_ERROR)
        await talk.turn()

        assert talk.client.heads == [(stream, [(b":status", b"413")], True)]
        assert talk.server.closed == [(stream, h2.NO_ERROR)]
        nursery.cancel_scope.cancel()


async def test_trailers_that_are_none_reset_their_stream(clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        talk = Talk(nursery)
        for value in (b"fine", b"x" * 9000):
            stream = talk.client.codec.open(GET, is_end=False)
            await talk.turn()
            channel = talk.server.streams[stream]
            talk.client.codec.send_trailers(stream, [(b"x-sum", value)])
            await talk.turn()
            if value == b"fine":
                assert channel.trailers.get(b"x-sum") == b"fine"

        assert talk.server.closed == [(3, h2.PROTOCOL_ERROR)]
        nursery.cancel_scope.cancel()


async def test_a_connection_without_an_interval_asks_nobody(clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        talk = Talk(nursery, Http2(ping_interval=None))
        await talk.turn()
        clock.jump(1000)
        await talk.turn()

        assert not talk.server.is_over
        nursery.cancel_scope.cancel()
