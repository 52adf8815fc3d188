"""Bytes without a protocol: as many as go through, or there and back.

The client drops what it gets in the kernel (MSG_TRUNC) and the origin sends files'
pages (sendfile), so that of the work on bytes the proxy's is nearly all.
"""

from __future__ import annotations

import select
import socket
import time

import attrs

from benchmarks.loads.load import Done, Failed, Target

GIB = 1 << 30
PIECE = 1 << 20
MESSAGE = b"x" * 64
TIMEOUT = 10.0


@attrs.frozen
class Download:
    """Take bytes on so many connections; a unit is a GiB."""

    connections: int

    def __call__(self, target: Target, seconds: int) -> Done:
        opened = _open(target.port, self.connections)
        poll, by_number = _watched(opened)
        received = 0
        start = time.monotonic()
        end = start + seconds
        try:
            while time.monotonic() < end:
                for number, _ in _ready(poll):
                    received += _drop(by_number[number])
        finally:
            for each in opened:
                each.close()
        return Done(received / GIB, time.monotonic() - start)


@attrs.frozen
class RoundTrips:
    """Send 64 bytes and wait for them, on so many connections."""

    connections: int

    def __call__(self, target: Target, seconds: int) -> Done:
        opened = _open(target.port, self.connections)
        poll, by_number = _watched(opened)
        trips = 0
        start = time.monotonic()
        end = start + seconds
        try:
            for each in opened:
                each.sendall(MESSAGE)
            while time.monotonic() < end:
                for number, _ in _ready(poll):
                    connection = by_number[number]
                    if connection.recv(4096) != MESSAGE:
                        raise Failed("the echo was not what was sent")
                    trips += 1
                    connection.sendall(MESSAGE)
        finally:
            for each in opened:
                each.close()
        return Done(trips, time.monotonic() - start)


def _open(port: int, count: int) -> list[socket.socket]:
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for each in opened:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def _watched(
    opened: list[socket.socket],
) -> tuple[select.epoll, dict[int, socket.socket]]:
    poll = select.epoll()
    for each in opened:
        poll.register(each, select.EPOLLIN)
    return poll, {each.fileno(): each for each in opened}


def _ready(poll: select.epoll) -> list[tuple[int, int]]:
    ready = poll.poll(TIMEOUT)
    if not ready:
        raise Failed("nothing came")
    return ready


def _drop(connection: socket.socket) -> int:
    # With MSG_TRUNC nothing is copied, and the buffer it needs stays as it was.
    size = connection.recv_into(_BUFFER, PIECE, socket.MSG_TRUNC)
    if not size:
        raise Failed("the connection was closed")
    return size


_BUFFER = bytearray(PIECE)
