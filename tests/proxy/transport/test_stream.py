"""A socket keeps trio's contract of a stream, and the data path's shorter one."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
import trio.testing

from proxy.transport.readiness import Readiness
from proxy.transport.stream import (
    FAREWELL,
    LARGEST_READ,
    MOST_HELD,
    SMALLEST_READ,
    TURN,
    SocketStream,
)
from proxy.transport.tuning import tune


def fill(sock: socket.socket) -> None:
    with suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))


class Pairs:
    """Makes connected streams on one epoll, and closes what it made."""

    def __init__(self) -> None:
        self.readiness = Readiness()
        self.made: list[SocketStream] = []

    async def __call__(self) -> tuple[SocketStream, SocketStream]:
        near, far = socket.socketpair()
        return self.wrap(near), self.wrap(far)

    async def tcp(self) -> tuple[SocketStream, SocketStream]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
        return self.wrap(near), self.wrap(far)

    async def clogged(self) -> tuple[SocketStream, SocketStream]:
        near, far = await self()
        fill(near.socket)
        return near, far

    def wrap(self, sock: socket.socket) -> SocketStream:
        tune(sock)
        self.made.append(SocketStream(sock, self.readiness))
        return self.made[-1]


@pytest.fixture
async def pairs() -> AsyncIterator[Pairs]:
    pairs = Pairs()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pairs.readiness.run)
        yield pairs
        for each in pairs.made:
            each.close()
        nursery.cancel_scope.cancel()
    pairs.readiness.close()


@pytest.mark.slow
async def test_it_keeps_the_contract_of_a_half_closeable_stream(pairs: Pairs) -> None:
    await trio.testing.check_half_closeable_stream(pairs, None)


@pytest.mark.slow
async def test_so_it_does_when_nothing_more_fits_in(pairs: Pairs) -> None:
    await trio.testing.check_one_way_stream(pairs, pairs.clogged)


@pytest.mark.slow
async def test_so_it_does_over_tcp(pairs: Pairs) -> None:
    await trio.testing.check_two_way_stream(pairs.tcp, None)


async def test_what_is_sent_soon_is_received_soon(pairs: Pairs) -> None:
    near, far = await pairs()

    await near.send_soon(b"hello")

    assert await far.receive_soon() == b"hello"
    assert repr(near) == f"<SocketStream fd {near.socket.fileno()}>"


async def test_receiving_soon_waits_for_bytes(pairs: Pairs) -> None:
    near, far = await pairs()
    received: list[bytes] = []

    async def receive() -> None:
        received.append(await far.receive_soon())
        received.append(await far.receive_soon())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await near.send_soon(b"one")
        await trio.testing.wait_all_tasks_blocked()
        await near.send_soon(b"two")

    assert received == [b"one", b"two"]


async def test_bytes_that_came_while_nobody_waited_are_found(pairs: Pairs) -> None:
    near, far = await pairs()
    await near.send_soon(b"one")
    assert await far.receive_soon() == b"one"
    stale = [far.is_stale]

    await near.send_soon(b"two")
    await trio.testing.wait_all_tasks_blocked()

    assert [*stale, far.is_stale] == [False, True]
    assert await far.receive_soon() == b"two"


async def test_a_peer_that_has_gone_is_noticed_without_reading(pairs: Pairs) -> None:
    near, far = await pairs()
    told: list[str] = []
    far.on_hangup(lambda: told.append("gone"))
    await near.send_soon(b"last")
    assert await far.receive_soon() == b"last"

    near.close()
    await trio.testing.wait_all_tasks_blocked()

    assert told == ["gone"]
    assert far.is_stale
    assert await far.receive_soon() == b""
    assert await far.receive_soon() == b""


async def test_nobody_is_told_who_no_longer_wants_to_be(pairs: Pairs) -> None:
    near, far = await pairs()
    told: list[str] = []
    far.on_hangup(lambda: told.append("gone"))
    far.on_hangup(None)

    near.close()
    await trio.testing.wait_all_tasks_blocked()

    assert not told


async def test_reads_grow_while_they_come_back_full(pairs: Pairs) -> None:
    near, far = await pairs()
    size = 2 * LARGEST_READ
    sizes = []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, bytes(size))
        while size:
            data = await far.receive_soon()
            sizes.append(len(data))
            size -= len(data)

    assert sizes[0] == SMALLEST_READ
    assert max(sizes) > SMALLEST_READ


async def test_a_connection_that_is_always_ready_leaves_the_others_their_turn(
    pairs: Pairs,
) -> None:
    near, far = await pairs()
    await near.send_all(b"x")
    await trio.testing.wait_all_tasks_blocked()
    others: list[int] = []
    done = 0

    async def other() -> None:
        others.append(done)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for number in range(2 * TURN + 1):
            near.socket.send(b"x")
            far._size = 1  # every read comes back full
            await far.receive_soon()
            done = number + 1

    # Of two tasks that may go on, trio takes either first.
    assert others in ([TURN - 1], [2 * TURN - 1])


async def test_what_does_not_fit_is_sent_as_the_peer_takes_it(pairs: Pairs) -> None:
    near, far = await pairs.clogged()
    received = 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_soon, bytes(300_000))
        await trio.testing.wait_all_tasks_blocked()
        assert near.moved == 0
        while near.moved < 300_000:
            received += len(await far.receive_soon())

    assert near.moved == 300_000
    assert received > 0


async def test_closing_tells_whoever_waits(pairs: Pairs) -> None:
    near, far = await pairs.clogged()

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await near.receive_soon()

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await near.send_soon(b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        near.close()
        near.close()

    assert repr(near) == "<SocketStream closed>"
    assert near.is_stale
    assert not far.is_stale or far.watch.has_hung_up


async def test_a_stream_that_was_closed_is_not_waited_for(pairs: Pairs) -> None:
    near, far = await pairs()
    await far.send_soon(b"x")
    assert await near.receive_soon() == b"x"
    assert not near.watch.readable
    near.close()

    with pytest.raises(trio.ClosedResourceError):
        await near.receive_soon()
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await near.send_soon(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await near.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        await near.peek(1)


async def test_a_connection_that_was_reset_is_broken(pairs: Pairs) -> None:
    near, far = await pairs.tcp()
    far.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    far.close()
    await trio.testing.wait_all_tasks_blocked()

    with pytest.raises(trio.BrokenResourceError, match="reset"):
        await near.receive_soon()
    with pytest.raises(trio.BrokenResourceError, match="pipe"):
        await near.send_soon(b"x")


async def test_every_way_to_read_tells_of_a_reset(pairs: Pairs) -> None:
    for read in ("receive_some", "peek"):
        near, far = await pairs.tcp()
        far.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
        )
        far.close()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError, match="reset"):
            await (near.peek(1) if read == "peek" else near.receive_some())


async def test_sending_the_rest_tells_of_a_peer_that_has_gone(pairs: Pairs) -> None:
    near, far = await pairs.clogged()

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await near.send_soon(b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        far.close()


async def test_a_peek_is_received_again(pairs: Pairs) -> None:
    near, far = await pairs()
    await near.send_all(b"a")
    peeked: list[bytes] = []

    async def peek() -> None:
        peeked.append(await far.peek(9, at_least=3))

    assert await far.peek(1) == b"a"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peek)
        await trio.testing.wait_all_tasks_blocked()
        await near.send_all(b"b")
        await trio.testing.wait_all_tasks_blocked()
        await near.send_all(b"c")

    assert peeked == [b"abc"]
    assert await far.receive_some(2) == b"ab"
    assert await far.receive_soon() == b"c"


async def test_a_peek_waits_for_the_first_byte_and_not_beyond_the_last(
    pairs: Pairs,
) -> None:
    near, far = await pairs()
    peeked: list[bytes] = []

    async def peek() -> None:
        peeked.append(await far.peek(9, at_least=9))
        peeked.append(await far.peek(9))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peek)
        await trio.testing.wait_all_tasks_blocked()
        await near.send_all(b"ab")
        await trio.testing.wait_all_tasks_blocked()
        near.close()

    assert peeked == [b"ab", b"ab"]
    assert await far.receive_some() == b"ab"
    assert await far.peek(9) == b""


async def test_two_tasks_may_not_receive_nor_send_at_a_time(pairs: Pairs) -> None:
    near, _ = await pairs.clogged()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.receive_some)
        nursery.start_soon(near.send_all, b"x")
        await trio.testing.wait_all_tasks_blocked()

        with pytest.raises(trio.BusyResourceError):
            await near.receive_some()
        with pytest.raises(trio.BusyResourceError):
            await near.send_all(b"x")
        with pytest.raises(trio.BusyResourceError):
            await near.send_eof()
        with pytest.raises(trio.BusyResourceError):
            await near.wait_send_all_might_not_block()
        nursery.cancel_scope.cancel()


async def test_who_waits_for_room_is_told_of_the_end(pairs: Pairs) -> None:
    near, _ = await pairs()
    with suppress(BlockingIOError):
        while True:  # until the kernel has no room for more
            near.socket.send(bytes(100_000))

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await near.wait_send_all_might_not_block()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            near.close()


async def test_a_read_of_nothing_makes_no_sense(pairs: Pairs) -> None:
    near, _ = await pairs()

    with pytest.raises(ValueError, match="at least 1"):
        await near.receive_some(0)


async def test_a_connection_that_is_aborted_looks_broken_to_its_peer(
    pairs: Pairs,
) -> None:
    near, far = await pairs.tcp()

    near.abort()
    near.abort()
    await trio.testing.wait_all_tasks_blocked()

    with pytest.raises(trio.BrokenResourceError, match="reset"):
        await far.receive_soon()


async def test_nothing_is_sent_behind_the_end(pairs: Pairs) -> None:
    near, far = await pairs()
    await near.send_eof()

    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")
    assert await far.receive_soon() == b""
    await far.send_all(b"y")
    assert await near.receive_soon() == b"y"


async def test_a_read_that_came_back_full_leaves_nothing_stale(pairs: Pairs) -> None:
    near, far = await pairs()
    near.socket.send(bytes(SMALLEST_READ))

    read = await far.receive_soon()

    assert len(read) == SMALLEST_READ
    assert not far.is_stale
    near.socket.send(b"unasked for")
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(5):
        while not far.is_stale:
            await trio.lowlevel.checkpoint()


async def test_what_fits_in_is_sent_without_waiting(pairs: Pairs) -> None:
    near, far = await pairs()
    data = bytes(10_000_000)

    sent = near.send_nowait(data)
    assert 0 < sent < len(data)
    assert near.send_nowait(memoryview(data)[sent:]) == 0
    received = 0
    while received < sent:
        received += len(await far.receive_some())

    assert received == sent
    assert near.send_nowait(b"more") == 4


async def test_sending_without_waiting_tells_of_an_end(pairs: Pairs) -> None:
    near, far = await pairs()
    far.close()
    with pytest.raises(trio.BrokenResourceError):
        near.send_nowait(b"x")
    near.close()
    with pytest.raises(trio.ClosedResourceError):
        near.send_nowait(b"x")


async def test_what_is_sent_later_leaves_together_when_the_turn_ends(
    pairs: Pairs,
) -> None:
    near, far = await pairs()
    near.readiness.is_crowded = True

    await near.send_later(b"one ")
    await near.send_later(b"two ")
    before = far.is_stale
    await trio.testing.wait_all_tasks_blocked()

    assert not before
    assert await far.receive_soon() == b"one two "
    near.readiness.is_crowded = True
    await near.send_later(b"three ")
    await trio.testing.wait_all_tasks_blocked()
    assert await far.receive_soon() == b"three "


async def test_with_few_sockets_ready_it_leaves_at_once(pairs: Pairs) -> None:
    near, far = await pairs()

    await near.send_later(b"one")

    assert await far.receive_soon() == b"one"
    assert not near.is_unsent


@pytest.mark.parametrize("call", ["send_soon", "send_all", "send_nowait", "send_eof"])
async def test_nothing_overtakes_what_is_sent_later(pairs: Pairs, call: str) -> None:
    near, far = await pairs()
    near.readiness.is_crowded = True

    await near.send_later(b"first ")
    if call == "send_eof":
        await near.send_eof()
    elif call == "send_nowait":
        near.send_nowait(b"second")
    else:
        await getattr(near, call)(b"second")

    received = await far.receive_soon()
    assert received == (b"first " if call == "send_eof" else b"first second")


async def test_much_is_not_held_back(pairs: Pairs) -> None:
    near, far = await pairs()
    near.readiness.is_crowded = True

    await near.send_later(b"a" * MOST_HELD)
    await near.send_later(b"b")

    assert await far.receive_some(MOST_HELD + 1) == b"a" * MOST_HELD + b"b"


async def test_what_does_not_fit_is_held_until_it_does(pairs: Pairs) -> None:
    near, far = await pairs.clogged()
    received = bytearray()

    async def send_more() -> None:
        await near.send_later(b"two")
        sent.append("two")

    sent: list[str] = []
    async with trio.open_nursery() as nursery:
        await near.send_later(b"one")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(send_more)
        await trio.testing.wait_all_tasks_blocked()
        assert near.send_nowait(b"no room") == 0
        assert not sent
        while not received.endswith(b"onetwo"):
            received += await far.receive_soon()

    assert sent
    await near.send_later(b"three")
    assert await far.receive_soon() == b"three"


async def test_what_is_held_goes_by_itself_when_there_is_room(pairs: Pairs) -> None:
    near, far = await pairs.clogged()
    await near.send_later(b"held")
    await trio.testing.wait_all_tasks_blocked()
    assert not near.is_unsent  # some of it may be out

    received = b""
    while not received.endswith(b"held"):
        received = received[-4:] + await far.receive_soon()

    assert not near.watch.on_writable


async def test_that_it_cannot_be_sent_shows_later(pairs: Pairs) -> None:
    near, far = await pairs()
    far.close()
    near.readiness.is_crowded = True

    await near.send_later(b"x")
    assert near.is_unsent
    await trio.testing.wait_all_tasks_blocked()

    assert near.is_unsent
    with pytest.raises(trio.BrokenResourceError):
        await near.send_later(b"y")
    assert await near.receive_soon() == b""


@pytest.mark.parametrize(
    ("end", "received"), [("close", b""), ("abort", b"last"), ("aclose", b"last")]
)
async def test_only_a_plain_close_forgets_what_is_held(
    pairs: Pairs, end: str, received: bytes
) -> None:
    near, far = await pairs()
    near.readiness.is_crowded = True
    await near.send_later(b"last")

    if end == "aclose":
        await near.aclose()
    else:
        getattr(near, end)()

    assert await far.receive_soon() == received
    with pytest.raises(trio.ClosedResourceError):
        await near.send_later(b"more")


async def test_closing_waits_for_a_slow_peer_but_not_for_ever(
    pairs: Pairs, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = await pairs.clogged()
    await near.send_later(b"last")
    begun = trio.current_time()

    await near.aclose()

    assert trio.current_time() - begun == FAREWELL
    assert far.watch.has_hung_up or await far.receive_soon()
