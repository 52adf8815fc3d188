"""Messages and descriptors arrive whole, in order, and with their owners."""

from __future__ import annotations

import os
import socket

import pytest
import trio

from proxy.ipc.channel import Channel, Reader, TrioChannel
from proxy.ipc.messages import Applied, Apply, Beat, Link, Message, Ready, encode


def test_messages_are_read_byte_by_byte_as_well_as_at_once() -> None:
    lines = encode(Ready()) + encode(Applied(3, "no"))
    reader = Reader()

    piecemeal = [each for byte in lines for each in reader.feed(bytes([byte]))]

    assert piecemeal == Reader().feed(lines) == [(Ready(), []), (Applied(3, "no"), [])]
    assert not reader.is_amid


def test_descriptors_go_to_the_message_that_they_came_with() -> None:
    lines = encode(Ready()) + encode(Link(1), 1) + encode(Link(2), 2)

    found = Reader().feed(lines, [10, 11, 12])

    assert found == [(Ready(), []), (Link(1), [10]), (Link(2), [11, 12])]


def test_descriptors_of_an_unknown_message_are_closed() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)

    found = Reader().feed(b'{"kind": "tomorrow", "descriptors": 1}\n', [descriptor])

    assert found == []
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


def test_descriptors_whose_message_never_came_are_closed() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    reader = Reader()
    reader.feed(b'{"kind"', [descriptor])
    assert reader.is_amid

    reader.close()

    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


async def test_a_socket_crosses_and_works_on_the_other_side() -> None:
    ours, theirs = socket.socketpair()
    near, far = socket.socketpair()
    channel, end = Channel(ours), TrioChannel(theirs)
    channel.send(Link(5, 1), [far])
    far.close()

    [(message, [descriptor])] = await end.receive()

    assert message == Link(5, 1)
    with socket.socket(fileno=descriptor) as received, near:
        received.send(b"hello")
        assert near.recv(5) == b"hello"
    end.close()
    channel.close()


async def test_what_does_not_fit_is_sent_later_and_in_order() -> None:
    ours, theirs = socket.socketpair()
    channel, end = Channel(ours), TrioChannel(theirs)
    long = Apply("x" * 2_000_000, 1)
    channel.send(long)
    channel.send(Ready())
    assert not channel.is_idle

    found: list[Message] = []

    async def read() -> None:
        while len(found) < 2:
            found.extend(message for message, _ in await end.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        while channel.has_unsent:
            channel.flush()
            await trio.lowlevel.checkpoint()

    assert found == [long, Ready()]
    end.close()
    channel.close()


async def test_the_supervisors_end_sees_messages_and_then_the_end() -> None:
    ours, theirs = socket.socketpair()
    channel, end = Channel(ours), TrioChannel(theirs)
    assert channel.receive() == []
    await end.send(Ready())
    await end.send(Beat())
    end.close()

    assert channel.receive() == [(Ready(), []), (Beat(), [])]

    assert channel.is_over
    assert channel.receive() == []
    channel.close()


def test_sending_to_somebody_who_has_gone_is_no_error() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    channel = Channel(ours)

    channel.send(Ready())
    channel.send(Ready())

    assert channel.is_over
    assert not channel.has_unsent
    channel.close()


async def test_a_task_whose_supervisor_has_gone_receives_nothing() -> None:
    ours, theirs = socket.socketpair()
    end = TrioChannel(theirs)
    ours.close()

    assert await end.receive() == []

    with pytest.raises(trio.BrokenResourceError):
        await end.send(Beat())
    end.close()


async def test_a_reset_is_an_end() -> None:
    ours, theirs = socket.socketpair()
    end = TrioChannel(theirs)
    await end.send(Beat())
    ours.close()

    assert await end.receive() == []

    end.close()


def test_closing_forgets_what_was_not_sent() -> None:
    ours, theirs = socket.socketpair()
    near, far = socket.socketpair()
    channel = Channel(ours)
    channel.send(Apply("x" * 2_000_000, 1))
    channel.send(Link(1), [far])

    channel.close()

    far.close()
    assert near.recv(1) == b"", "a copy of the other end was left open"
    near.close()
    theirs.close()
