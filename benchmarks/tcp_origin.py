"""``python -m benchmarks.tcp_origin PORT send|echo``: who answers bytes with bytes."""

from __future__ import annotations

import os
import selectors
import socket
import sys
from collections.abc import Callable

PIECE = 1 << 20

Answer = Callable[[socket.socket], None]


def sender() -> Answer:
    """Send for as long as it is taken, from a file in memory."""
    source = os.memfd_create("bytes")
    os.write(source, b"x" * PIECE)

    def send(connection: socket.socket) -> None:
        while os.sendfile(connection.fileno(), source, 0, PIECE) == PIECE:
            pass

    return send


def echo(connection: socket.socket) -> None:
    """Send back what came."""
    received = connection.recv(4096)
    if not received:
        raise ConnectionError
    connection.sendall(received)


def serve(port: int, answer: Answer, event: int) -> None:
    """Answer every connection for ever."""
    selector = selectors.DefaultSelector()
    listening = socket.create_server(("127.0.0.1", port), backlog=4096)
    selector.register(listening, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listening:
                connection, _ = listening.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, event, connection)
                continue
            try:
                answer(key.data)
            except BlockingIOError:
                continue
            except OSError:
                selector.unregister(key.data)
                key.data.close()


if __name__ == "__main__":
    if sys.argv[2] == "send":
        serve(int(sys.argv[1]), sender(), selectors.EVENT_WRITE)
    else:
        serve(int(sys.argv[1]), echo, selectors.EVENT_READ)
