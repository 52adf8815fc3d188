"""``python -m benchmarks.mute_origin PORT FILE``: takes HTTP/2 requests, answers none.

How many it holds is what FILE says.
"""

from __future__ import annotations

import selectors
import socket
import struct
import sys
from pathlib import Path

import attrs

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER = struct.Struct(">HBBBL")
"""RFC 9113, 4.1: length in two parts, type, flags, stream."""
HEADERS, RESET, SETTINGS, PING = 1, 3, 4, 6
ACK = 1
MOST = 100
"""Streams a connection; what most servers grant at least."""


def frame(kind: int, flags: int, payload: bytes) -> bytes:
    """A frame about the connection itself."""
    return HEADER.pack(0, len(payload), kind, flags, 0) + payload


GREETING = frame(SETTINGS, 0, struct.pack(">HL", 3, MOST))


@attrs.define(eq=False)
class Peer:
    """What one connection has sent, as far as that is of interest."""

    streams: int = 0
    _buffer: bytes = b""
    _is_greeted: bool = False

    def receive(self, data: bytes) -> bytes:
        """What to say to that."""
        self._buffer += data
        if not self._is_greeted:
            if len(self._buffer) < len(PREFACE):
                return b""
            self._buffer = self._buffer[len(PREFACE) :]
            self._is_greeted = True
        answer = b""
        while len(self._buffer) >= HEADER.size:
            high, low, kind, flags, _ = HEADER.unpack_from(self._buffer)
            end = HEADER.size + (high << 8 | low)
            if len(self._buffer) < end:
                break
            answer += self._take(kind, flags, self._buffer[HEADER.size : end])
            self._buffer = self._buffer[end:]
        return answer

    def _take(self, kind: int, flags: int, payload: bytes) -> bytes:
        self.streams += (kind == HEADERS) - (kind == RESET)
        if kind in (SETTINGS, PING) and not flags & ACK:
            return frame(kind, ACK, payload if kind == PING else b"")
        return b""


def serve(port: int, told: Path) -> None:
    """Take every connection, for ever."""
    selector = selectors.DefaultSelector()
    listening = socket.create_server(("127.0.0.1", port), backlog=4096)
    selector.register(listening, selectors.EVENT_READ)
    peers: dict[socket.socket, Peer] = {}
    while True:
        for key, _ in selector.select():
            if key.fileobj is listening:
                connection, _ = listening.accept()
                connection.sendall(GREETING)
                peers[connection] = Peer()
                selector.register(connection, selectors.EVENT_READ, connection)
                continue
            if not _answer(key.data, peers[key.data]):
                selector.unregister(key.data)
                del peers[key.data]
                key.data.close()
        told.write_text(str(sum(each.streams for each in peers.values())))


def _answer(connection: socket.socket, peer: Peer) -> bool:
    """Whether it still is one."""
    try:
        received = connection.recv(1 << 16)
        connection.sendall(peer.receive(received))
    except OSError:
        return False
    return bool(received)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
