"""What is queued in a turn leaves in one write, and a full socket is gone on with."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from meshfilters.memory import stream_pair
from proxy.transport.http2.outbox import Outbox
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream
from proxy.transport.tuning import tune


@attrs.define(eq=False)
class Queue:
    """What a codec would have to send."""

    waiting: list[bytes] = attrs.field(factory=list)
    sent: int = 0
    takes: int = 0

    def take(self) -> bytes:
        self.takes += 1
        data, self.waiting = b"".join(self.waiting), []
        return data

    def on_sent(self) -> None:
        self.sent += 1


@pytest.fixture
async def readiness() -> AsyncIterator[Readiness]:
    readiness = Readiness()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readiness.run)
        yield readiness
        nursery.cancel_scope.cancel()
    readiness.close()


def pair(readiness: Readiness) -> tuple[SocketStream, SocketStream]:
    sockets = socket.socketpair()
    for each in sockets:
        tune(each)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    one, other = (SocketStream(each, readiness) for each in sockets)
    return one, other


async def test_tasks_of_one_turn_share_a_write(readiness: Readiness) -> None:
    near, far = pair(readiness)
    queue = Queue()
    outbox = Outbox(near, queue.take, queue.on_sent)

    async def say(word: bytes) -> None:
        queue.waiting.append(word)
        outbox.wake()

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(say, b"x")
    await wait_all_tasks_blocked()

    assert await far.receive_some() == b"xxxxx"
    assert (queue.takes, queue.sent) == (1, 1)
    assert not outbox.needs_task
    near.close()
    far.close()


async def test_a_full_socket_is_gone_on_with(readiness: Readiness) -> None:
    near, far = pair(readiness)
    queue = Queue([b"x" * 500_000])
    outbox = Outbox(near, queue.take, queue.on_sent)
    outbox.wake()
    await wait_all_tasks_blocked()
    queue.waiting.append(b"y" * 10)
    outbox.wake()
    assert (outbox.is_full, outbox.resumed) == (True, 0)

    received = b""
    while len(received) < 500_010:
        received += await far.receive_some()

    assert received == b"x" * 500_000 + b"y" * 10
    assert not outbox.is_full
    assert outbox.resumed
    near.close()
    far.close()


@pytest.mark.parametrize("sockets", [True, False])
async def test_settling_waits_for_the_last_byte(
    readiness: Readiness, sockets: bool
) -> None:
    queue = Queue([b"x" * 300_000])
    near, far = pair(readiness) if sockets else stream_pair()
    outbox = Outbox(near, queue.take, queue.on_sent)
    received = 0

    async def read() -> None:
        nonlocal received
        while received < 300_000:
            received += len(await far.receive_some(20_000))

    async with trio.open_nursery() as nursery:
        if outbox.needs_task:
            nursery.start_soon(outbox.run)
        outbox.wake()
        nursery.start_soon(read)
        await outbox.settle()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert received == 300_000
    assert not queue.waiting
    await near.aclose()
    await far.aclose()


async def test_a_peer_that_has_gone_ends_the_sending(readiness: Readiness) -> None:
    near, far = pair(readiness)
    queue = Queue([b"x"])
    outbox = Outbox(near, queue.take, queue.on_sent)
    far.close()
    await wait_all_tasks_blocked()
    outbox.wake()
    await wait_all_tasks_blocked()
    queue.waiting.append(b"y")
    outbox.wake()
    await outbox.settle()

    assert queue.waiting == [b"y"]
    near.close()


@pytest.mark.parametrize("sockets", [False, True])
async def test_nothing_is_sent_behind_the_end(
    readiness: Readiness, sockets: bool
) -> None:
    near, far = pair(readiness) if sockets else stream_pair()
    queue = Queue([b"last"])
    outbox = Outbox(near, queue.take, queue.on_sent)
    async with trio.open_nursery() as nursery:
        if outbox.needs_task:
            nursery.start_soon(outbox.run)
        outbox.wake()
        await outbox.settle()
        outbox.close()
        await near.send_eof()
        queue.waiting.append(b"more")
        outbox.wake()
        outbox.flush()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert await far.receive_some() == b"last"
    assert await far.receive_some() == b""
    assert queue.waiting == [b"more"]
    await near.aclose()
    await far.aclose()
