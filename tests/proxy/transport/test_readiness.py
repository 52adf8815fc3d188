"""Edges are remembered, waiters woken, and what is closed is told."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress

import pytest
import trio
import trio.testing

from proxy.transport.readiness import FEW, Readiness

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


@pytest.fixture
async def readiness() -> AsyncIterator[Readiness]:
    readiness = Readiness()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readiness.run)
        yield readiness
        nursery.cancel_scope.cancel()
    readiness.close()


def fill(sock: socket.socket) -> None:
    with suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))


def drain(sock: socket.socket) -> None:
    with suppress(BlockingIOError):
        while True:
            sock.recv(65536)


async def test_a_waiting_reader_is_woken(readiness: Readiness, pair: Pair) -> None:
    near, far = pair
    watch = readiness.watch(near.fileno())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.wait_readable)
        await trio.testing.wait_all_tasks_blocked()
        far.send(b"x")

    assert watch.readable
    assert watch.reader is None


async def test_an_edge_that_came_while_nobody_waited_is_remembered(
    readiness: Readiness, pair: Pair
) -> None:
    near, far = pair
    watch = readiness.watch(near.fileno())
    watch.readable = False

    far.send(b"x")
    await trio.testing.wait_all_tasks_blocked()

    assert watch.readable
    assert not watch.has_hung_up


async def test_a_waiting_writer_is_woken(readiness: Readiness, pair: Pair) -> None:
    near, far = pair
    watch = readiness.watch(near.fileno())
    fill(near)
    await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.wait_writable)
        await trio.testing.wait_all_tasks_blocked()
        assert watch.writer is not None
        drain(far)

    assert watch.writer is None


async def test_one_task_may_read_and_one_may_write(
    readiness: Readiness, pair: Pair
) -> None:
    near, far = pair
    watch = readiness.watch(near.fileno())
    fill(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.wait_readable)
        nursery.start_soon(watch.wait_writable)
        await trio.testing.wait_all_tasks_blocked()

        with pytest.raises(trio.BusyResourceError, match="receiving"):
            await watch.wait_readable()
        with pytest.raises(trio.BusyResourceError, match="sending"):
            await watch.wait_writable()
        far.send(b"x")
        drain(far)


@pytest.mark.parametrize("way", ["shutdown", "close"])
async def test_a_peer_that_hangs_up_is_told_of_once(
    readiness: Readiness, pair: Pair, way: str
) -> None:
    near, far = pair
    watch = readiness.watch(near.fileno())
    told: list[str] = []
    watch.on_hangup = lambda: told.append("gone")

    if way == "shutdown":
        far.shutdown(socket.SHUT_WR)
    else:
        far.close()
    await trio.testing.wait_all_tasks_blocked()
    assert watch.has_hung_up
    assert watch.readable
    if way == "shutdown":
        far.close()
        await trio.testing.wait_all_tasks_blocked()

    assert told == ["gone"]


async def test_nobody_need_ask_for_a_hangup(readiness: Readiness, pair: Pair) -> None:
    near, far = pair
    watch = readiness.watch(near.fileno())

    far.close()
    await trio.testing.wait_all_tasks_blocked()

    assert watch.has_hung_up


async def test_closing_tells_whoever_waits(readiness: Readiness, pair: Pair) -> None:
    near, _ = pair
    watch = readiness.watch(near.fileno())
    fill(near)
    told: list[str] = []

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await watch.wait_readable()
        told.append("reader")

    async def write() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await watch.wait_writable()
        told.append("writer")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        watch.close()
        watch.close()

    assert sorted(told) == ["reader", "writer"]
    assert watch.readable
    assert repr(readiness) == "<Readiness 0 watched>"


async def test_a_cancelled_waiter_makes_room_for_the_next(
    readiness: Readiness, pair: Pair
) -> None:
    near, far = pair
    watch = readiness.watch(near.fileno())
    fill(near)

    for wait in (watch.wait_readable, watch.wait_writable):
        with trio.CancelScope() as scope:
            scope.cancel()
            await wait()
        assert scope.cancelled_caught

    assert watch.reader is None
    assert watch.writer is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.wait_readable)
        await trio.testing.wait_all_tasks_blocked()
        far.send(b"x")


async def test_what_happens_to_a_forgotten_socket_is_nobodys_business(
    readiness: Readiness, pair: Pair
) -> None:
    near, far = pair
    watch = readiness.watch(near.fileno())
    # Its event is polled in the same round as its closing, and comes behind it.
    far.send(b"x")
    del readiness._watches[near.fileno()]
    watch.readable = False

    await trio.testing.wait_all_tasks_blocked()

    assert not watch.readable


async def test_closing_the_epoll_leaves_the_sockets_open(pair: Pair) -> None:
    near, far = pair
    readiness = Readiness()
    watch = readiness.watch(near.fileno())
    assert repr(readiness) == "<Readiness 1 watched>"

    readiness.close()
    watch.close()

    far.send(b"x")
    assert near.recv(1) == b"x"


async def test_what_is_due_soon_is_done_once_behind_the_tasks(
    readiness: Readiness,
) -> None:
    done: list[str] = []

    def call() -> None:
        done.append("call")
        if len(done) < 4:
            readiness.soon(call)

    async def task(name: str) -> None:
        readiness.soon(call) if name == "first" else None
        done.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(task, "first")
        nursery.start_soon(task, "second")
    await trio.testing.wait_all_tasks_blocked()

    assert sorted(done[:2]) == ["first", "second"]
    assert done[2:] == ["call", "call"]


async def test_a_task_that_such_a_call_wakes_runs_at_once(
    readiness: Readiness,
) -> None:
    woken = trio.Event()

    def wake() -> None:
        woken.set()
        readiness.nudge()

    # Without the nudge, nothing would end the wait that is about to begin.
    with trio.fail_after(5):
        readiness.soon(wake)
        await woken.wait()
    assert woken.is_set()


async def test_room_is_told_of_once(readiness: Readiness, pair: Pair) -> None:
    near, far = pair
    watch = readiness.watch(near.fileno())
    fill(near)
    await trio.testing.wait_all_tasks_blocked()
    told: list[str] = []
    watch.on_writable = lambda: told.append("room")

    for _ in range(2):
        drain(far)
        await trio.testing.wait_all_tasks_blocked()
        fill(near)

    assert told == ["room"]
    assert watch.on_writable is None


async def test_a_closed_watch_tells_of_no_room(
    readiness: Readiness, pair: Pair
) -> None:
    near, far = pair
    watch = readiness.watch(near.fileno())
    fill(near)
    told: list[str] = []
    watch.on_writable = lambda: told.append("room")
    watch.close()
    drain(far)
    await trio.testing.wait_all_tasks_blocked()

    assert told == []


async def test_a_turn_with_many_ready_sockets_is_crowded(
    readiness: Readiness,
) -> None:
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(FEW + 1)]
        for pair in pairs:
            for each in pair:
                stack.enter_context(each)
            readiness.watch(pair[0].fileno())
        await trio.testing.wait_all_tasks_blocked()
        assert not readiness.is_crowded

        crowds = []
        for count in (FEW, FEW + 1):
            for _, far in pairs[:count]:
                far.send(b"x")
            readiness.after_io_wait(0)
            crowds.append(readiness.is_crowded)

    assert crowds == [False, True]
