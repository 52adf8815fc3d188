"""Messages over a UNIX stream socket, with descriptors beside them.

``Reader`` puts bytes together to messages and does no I/O. ``Channel`` is the
supervisor's end, which never waits; ``TrioChannel`` is the end of a task.

Linux hands out the descriptors of a ``sendmsg`` no later than its first byte and never
joins two such sends in one ``recvmsg``: descriptors queue up in the order of the
messages that they belong to.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Sequence

import attrs
import trio

from proxy.ipc.messages import Message, decode, encode

Received = tuple[Message, list[int]]

CHUNK = 256 * 1024
MAX_DESCRIPTORS = 250
"""Of one message; Linux takes 253 at a time (SCM_MAX_FD)."""
_ANCILLARY = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)


@attrs.define(eq=False)
class Reader:
    """Bytes and descriptors in, messages out."""

    _buffer: bytearray = attrs.field(factory=bytearray)
    _descriptors: deque[int] = attrs.field(factory=deque)

    @property
    def is_amid(self) -> bool:
        """Whether part of a message has come."""
        return bool(self._buffer) or bool(self._descriptors)

    def feed(self, data: bytes, descriptors: Sequence[int] = ()) -> list[Received]:
        """The messages that are whole with this; each owns its descriptors."""
        self._buffer += data
        self._descriptors.extend(descriptors)
        if b"\n" not in data:
            return []
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        found = []
        for line in lines:
            message, count = decode(bytes(line))
            taken = [self._descriptors.popleft() for _ in range(count)]
            if message is None:
                close_all(taken)
            else:
                found.append((message, taken))
        return found

    def close(self) -> None:
        """Close descriptors whose message never came."""
        close_all(self._descriptors)
        self._descriptors.clear()


def close_all(descriptors: Sequence[int] | deque[int]) -> None:
    """Close each of them."""
    for each in descriptors:
        os.close(each)


def _descriptors_of(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


@attrs.define(eq=False)
class Channel:
    """One end that never waits: what does not fit in the socket is kept for later."""

    sock: socket.socket
    is_over: bool = False
    """Whether the other end has gone."""
    _reader: Reader = attrs.field(factory=Reader)
    _unsent: deque[tuple[bytes, list[socket.socket]]] = attrs.field(factory=deque)

    def __attrs_post_init__(self) -> None:
        self.sock.setblocking(False)

    @property
    def has_unsent(self) -> bool:
        """Whether ``flush`` should be called when the socket takes bytes again."""
        return bool(self._unsent)

    @property
    def is_idle(self) -> bool:
        """Whether no message is half sent or half received."""
        return not self._unsent and not self._reader.is_amid

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: Message, sockets: Sequence[socket.socket] = ()) -> None:
        """Send it, with copies of ``sockets``; after the other end's end, nothing."""
        copies = [each.dup() for each in sockets]
        self._unsent.append((encode(message, len(copies)), copies))
        self.flush()

    def flush(self) -> None:
        """Send as much of what was kept as the socket takes."""
        while self._unsent and not self.is_over:
            data, sockets = self._unsent[0]
            try:
                sent = self._send(data, sockets)
            except BlockingIOError:
                return
            except OSError:
                self.is_over = True
                break
            _close_sockets(sockets)
            if sent < len(data):
                self._unsent[0] = (data[sent:], [])
            else:
                self._unsent.popleft()
        if self.is_over:
            self._forget()

    def receive(self) -> list[Received]:
        """Everything that has come; sets ``is_over`` at the end."""
        found: list[Received] = []
        while not self.is_over:
            try:
                data, ancillary, _, _ = self.sock.recvmsg(CHUNK, _ANCILLARY)
            except BlockingIOError:
                break
            except OSError:
                data, ancillary = b"", []
            self.is_over = not data
            found += self._reader.feed(data, _descriptors_of(ancillary))
        return found

    def close(self) -> None:
        self._forget()
        self._reader.close()
        self.sock.close()

    def _send(self, data: bytes, sockets: list[socket.socket]) -> int:
        if not sockets:
            return self.sock.send(data)
        return socket.send_fds(self.sock, [data], [each.fileno() for each in sockets])

    def _forget(self) -> None:
        for _, sockets in self._unsent:
            _close_sockets(sockets)
        self._unsent.clear()


def _close_sockets(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


class TrioChannel:
    """One end for tasks: any may send, one may receive."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = trio.socket.from_stdlib_socket(sock)
        self._stream = trio.SocketStream(self._sock)
        self._reader = Reader()
        self._turn = trio.Lock()

    async def send(self, message: Message) -> None:
        """Raises ``trio.BrokenResourceError`` when the other end has gone."""
        data = encode(message)
        async with self._turn:
            await self._stream.send_all(data)

    async def receive(self) -> list[Received]:
        """At least one message, or none at all when the other end has gone."""
        while True:
            try:
                data, ancillary, _, _ = await self._sock.recvmsg(CHUNK, _ANCILLARY)
            except OSError:
                return []
            found = self._reader.feed(data, _descriptors_of(ancillary))
            if found or not data:
                return found

    def close(self) -> None:
        self._reader.close()
        self._sock.close()
