"""Bytes both ways, whole and in order, until both sides have ended or one broke."""

from __future__ import annotations

import os
import socket
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from meshfilters.memory import stream_pair
from meshfilters.stream import Stream
from proxy.transport.readiness import Readiness
from proxy.transport.relay import SPLICE_FROM, Moved, relay
from proxy.transport.stream import SocketStream
from proxy.transport.tuning import tune


class Wire:
    """A client and a service with a relay between them."""

    def __init__(
        self, nursery: trio.Nursery, *, sockets: bool = False, early: bytes = b""
    ) -> None:
        self.moved = Moved()
        self.touched = 0
        self.over = trio.Event()
        self.readiness = Readiness()
        nursery.start_soon(self.readiness.run)
        self.client, downstream = self._pair(sockets)
        self.service, self.upstream = self._pair(sockets)
        nursery.start_soon(self._run, downstream, early)

    def _pair(self, sockets: bool) -> tuple[Stream, Stream]:
        if not sockets:
            return stream_pair()
        pair = socket.socketpair()
        for each in pair:
            tune(each)
        one, other = (SocketStream(each, self.readiness) for each in pair)
        return one, other

    async def _run(self, downstream: Stream, early: bytes) -> None:
        try:
            await relay(downstream, self.upstream, self._touch, self.moved, early)
            self.over.set()
        finally:
            await downstream.aclose()

    def _touch(self) -> None:
        self.touched += 1


async def send_whole(stream: Stream, data: bytes) -> None:
    await stream.send_all(data)
    await stream.send_eof()


async def receive_whole(stream: Stream) -> bytes:
    received = bytearray()
    while data := await stream.receive_some():
        received += data
    return bytes(received)


@pytest.mark.parametrize("sockets", [False, True], ids=["memory", "sockets"])
@pytest.mark.parametrize("is_clients", [True, False], ids=["client", "service"])
async def test_the_end_of_one_side_is_passed_on_and_the_other_goes_on(
    nursery: trio.Nursery, sockets: bool, is_clients: bool
) -> None:
    wire = Wire(nursery, sockets=sockets)
    first, second = wire.client, wire.service
    if not is_clients:
        first, second = second, first

    await send_whole(first, b"question")
    assert await receive_whole(second) == b"question"
    assert not wire.over.is_set()
    await send_whole(second, b"the answer")
    assert await receive_whole(first) == b"the answer"

    await wait_all_tasks_blocked()
    assert wire.over.is_set()
    sizes = (8, 10) if is_clients else (10, 8)
    assert (wire.moved.sent, wire.moved.received) == sizes
    assert wire.moved.error == ""
    assert wire.touched == 2
    await first.aclose()
    await second.aclose()


async def test_early_bytes_go_first(nursery: trio.Nursery) -> None:
    wire = Wire(nursery, early=b"early ")

    await send_whole(wire.client, b"late")

    assert await receive_whole(wire.service) == b"early late"
    assert wire.moved.sent == 10


@pytest.mark.parametrize("is_clients", [True, False], ids=["client", "service"])
async def test_bulk_is_spliced_whole_both_ways_at_once(
    nursery: trio.Nursery, is_clients: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spliced = 0
    splice = os.splice

    def counting(outlet: int, inlet: int, count: int, *, flags: int) -> int:
        nonlocal spliced
        size = splice(outlet, inlet, count, flags=flags)
        spliced += size
        return size

    monkeypatch.setattr(os, "splice", counting)
    wire = Wire(nursery, sockets=True)
    bulk = Random(0).randbytes(3 * SPLICE_FROM + 12_345)
    sender, receiver = wire.client, wire.service
    if not is_clients:
        sender, receiver = receiver, sender

    async with trio.open_nursery() as both:
        both.start_soon(send_whole, sender, bulk)
        both.start_soon(send_whole, receiver, b"back")
        received = await receive_whole(receiver)
        assert await receive_whole(sender) == b"back"

    assert received == bulk
    sizes = (wire.moved.sent, wire.moved.received)
    assert sizes == ((len(bulk), 4) if is_clients else (4, len(bulk)))
    assert spliced > 2 * SPLICE_FROM
    await wire.client.aclose()
    await wire.service.aclose()


async def test_without_descriptors_for_a_pipe_bulk_is_copied(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(flags: int) -> tuple[int, int]:
        raise OSError("too many open files")

    monkeypatch.setattr(os, "pipe2", none_left)
    wire = Wire(nursery, sockets=True)
    bulk = Random(0).randbytes(2 * SPLICE_FROM)

    async with trio.open_nursery() as both:
        both.start_soon(send_whole, wire.client, bulk)
        assert await receive_whole(wire.service) == bulk

    assert wire.moved.sent == len(bulk)
    await wire.client.aclose()
    await wire.service.aclose()


@pytest.mark.parametrize("is_bulk", [False, True], ids=["copying", "splicing"])
async def test_a_side_that_breaks_ends_the_other(
    nursery: trio.Nursery, is_bulk: bool
) -> None:
    wire = Wire(nursery, sockets=True)
    if is_bulk:
        bulk = b"x" * (SPLICE_FROM + 1)
        async with trio.open_nursery() as both:
            both.start_soon(wire.client.send_all, bulk)
            left = len(bulk)
            while left:
                left -= len(await wire.service.receive_some())
    await wait_all_tasks_blocked()

    await wire.service.aclose()
    await wire.client.send_all(b"x")
    await wait_all_tasks_blocked()

    assert wire.over.is_set()
    assert wire.moved.error
    assert await receive_whole(wire.client) == b""
    await wire.client.aclose()


async def test_a_reset_ends_the_side_that_is_waited_for(
    nursery: trio.Nursery,
) -> None:
    wire = Wire(nursery, sockets=True)
    await wire.client.send_all(b"unread")
    await wait_all_tasks_blocked()

    await wire.service.aclose()  # with bytes unread: a reset

    assert await receive_whole(wire.client) == b""
    await wait_all_tasks_blocked()
    assert wire.over.is_set()
    assert wire.moved.error
    await wire.client.aclose()


async def test_a_cancelled_relay_has_counted_and_closes_upstream() -> None:
    async with trio.open_nursery() as nursery:
        wire = Wire(nursery)
        await wire.client.send_all(b"abc")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert wire.moved.sent == 3
    assert await wire.service.receive_some() == b"abc"
    assert await wire.service.receive_some() == b""
