"""A stream is a body that comes and a queue that goes, each with its end."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from meshfilters.errors import ClientGone
from meshfilters.message import EMPTY, Buffered, Headers
from proxy.codec.h2.codec import CANCEL, NO_ERROR, StreamGone
from proxy.transport.http2.channel import HIGH, Channel


@attrs.define(eq=False)
class Connection:
    """What a channel asks of its connection: of a codec, too."""

    consumed_bytes: int = 0
    waiting: int = 0
    sent: list[tuple[bytes, bool]] = attrs.field(factory=list)
    resets: list[int] = attrs.field(factory=list)
    blocked: dict[Channel, int] = attrs.field(factory=dict)
    is_gone: bool = False
    window: int = 100
    widest: int = 300
    widened: list[int] = attrs.field(factory=list)

    @property
    def codec(self) -> Connection:
        return self

    def consumed(self, stream: int, size: int) -> None:
        self.consumed_bytes += size

    def send(self, stream: int, data: bytes, *, is_end: bool) -> None:
        if self.is_gone:
            raise StreamGone
        self.sent.append((data, is_end))
        self.waiting += len(data)

    def queued(self, stream: int) -> int:
        return self.waiting

    def widen(self, stream: int, window: int) -> None:
        self.widened.append(window)

    def reset(self, stream: int, code: int) -> None:
        self.resets.append(code)

    def reset_behind(self, stream: int, code: int) -> None:
        self.resets.append(code)

    def wake(self) -> None: ...

    def flush(self) -> None: ...

    def woken(self) -> None: ...


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def channel(connection: Connection) -> Channel:
    return Channel(connection, 1)  # type: ignore[arg-type]  # all that is asked of one


async def test_what_came_is_taken_as_one(
    channel: Channel, connection: Connection
) -> None:
    channel.feed(b"a", False)
    channel.feed(b"b", True)
    assert connection.consumed_bytes == 0

    assert await channel.receive() == b"ab"
    assert await channel.receive() == await channel.receive() == b""
    assert (channel.received, connection.consumed_bytes) == (2, 2)


async def test_who_waits_is_woken(channel: Channel) -> None:
    got: list[bytes] = []

    async def take() -> None:
        got.append(await channel.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        assert channel.is_awaited
        with pytest.raises(trio.BusyResourceError):
            await channel.receive()
        channel.feed(b"x", False)

    assert got == [b"x"]
    assert not channel.is_awaited


async def test_a_body_that_is_here_costs_no_wait(channel: Channel) -> None:
    assert channel.whole() is None
    channel.feed(b"x", False)
    trailers = Headers([(b"a", b"b")])
    channel.end(trailers)
    body = channel.whole()

    assert isinstance(body, Buffered)
    assert (body.data, body.trailers) == (b"x", trailers)


def test_no_body_is_empty(channel: Channel) -> None:
    channel.feed(b"", True)

    assert channel.whole() is EMPTY


async def test_a_broken_stream_says_why(
    channel: Channel, connection: Connection
) -> None:
    channel.feed(b"x", False)
    channel.close(CANCEL, ClientGone("left"))
    connection.is_gone = True

    assert await channel.receive() == b"x"
    for _ in range(2):
        with pytest.raises(ClientGone, match="left"):
            await channel.receive()
    with pytest.raises(ClientGone, match="left"):
        await channel.send(b"y")


async def test_what_nobody_wants_is_consumed(
    channel: Channel, connection: Connection
) -> None:
    channel.feed(b"abc", False)
    assert not channel.discard()
    channel.feed(b"de", True)

    assert connection.consumed_bytes == 5
    assert channel.discard()


async def test_a_closed_body_is_not_received(channel: Channel) -> None:
    await channel.aclose()

    with pytest.raises(trio.ClosedResourceError):
        await channel.receive()


async def test_a_sender_waits_above_the_mark(
    channel: Channel, connection: Connection
) -> None:
    done = trio.Event()

    async def send() -> None:
        await channel.send(b"x" * (HIGH + 1))
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        assert not done.is_set()
        assert channel in connection.blocked
        connection.waiting = 0
        channel.wake_sender()

    assert done.is_set()
    assert connection.blocked == {}


async def test_a_sender_that_is_cancelled_waits_no_more(
    channel: Channel, connection: Connection
) -> None:
    connection.waiting = 5
    with trio.move_on_after(0):
        await channel.sent()

    assert connection.blocked == {}


def test_a_stream_is_reset_once(channel: Channel, connection: Connection) -> None:
    channel.reset()
    channel.close(CANCEL, None)
    channel.reset()

    assert connection.resets == [CANCEL]
    assert channel.code == CANCEL
    assert repr(channel) == "<Channel 1: closed>"
    assert NO_ERROR == 0


def test_a_stream_is_reset_behind_what_is_queued_or_at_once_but_not_both(
    channel: Channel, connection: Connection
) -> None:
    channel.reset_behind(NO_ERROR)
    channel.reset_behind(CANCEL)
    channel.reset()

    assert connection.resets == [NO_ERROR]
    assert channel.is_reset


async def test_a_waiting_sender_is_told_why_its_stream_is_over(
    channel: Channel, connection: Connection
) -> None:
    async def send() -> None:
        with pytest.raises(ClientGone, match="left"):
            await channel.send(b"x" * (HIGH + 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await channel.sent()
        channel.close(CANCEL, ClientGone("left"))

    assert connection.blocked == {}


async def test_a_reader_that_is_cancelled_waits_no_more(channel: Channel) -> None:
    with trio.move_on_after(0):
        await channel.receive()
    channel.feed(b"x", True)

    assert await channel.receive() == b"x"


async def test_a_stream_that_is_over_for_no_reason_is_closed(
    channel: Channel, connection: Connection
) -> None:
    connection.is_gone = True

    with pytest.raises(trio.ClosedResourceError):
        await channel.send(b"x")


async def test_who_reads_as_it_comes_gets_more_at_once(
    channel: Channel, connection: Connection
) -> None:
    async def read() -> None:
        while await channel.receive():
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for size in (399, 1, 399, 1, 10_000):
            await wait_all_tasks_blocked()
            channel.feed(b"x" * size, False)
        await wait_all_tasks_blocked()
        channel.feed(b"", True)
    assert connection.widened == [200, 300]


async def test_who_reads_late_gets_no_more(
    channel: Channel, connection: Connection
) -> None:
    for _ in range(100):
        channel.feed(b"x" * 100, False)
        await channel.receive()
    assert connection.widened == []
