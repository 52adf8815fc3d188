"""What Python's own clients can't say: trailers of a request, a WebSocket's echo."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

TIMEOUT = 20.0


def chunked_request(target: str, body: list[bytes], trailers: dict[str, str]) -> bytes:
    """Write a POST in chunks with trailers, as it goes over the wire."""
    head = f"POST {target} HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n"
    head += f"Trailer: {', '.join(trailers)}\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in body)
    fields = "".join(f"{name}: {value}\r\n" for name, value in trailers.items())
    return head.encode() + chunks + b"0\r\n" + fields.encode() + b"\r\n"


def answered(sock: socket.socket, method: str = "GET") -> tuple[int, bytes]:
    """Read one response with Python's own parser."""
    with HTTPResponse(sock, method=method) as response:
        response.begin()
        return response.status, response.read()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), TIMEOUT)


@contextmanager
def echoing() -> Iterator[int]:
    """Send every WebSocket message back; yields the port."""

    def echo(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):  # some clients just go
            for message in connection:
                connection.send(message)

    with serve(echo, "127.0.0.1", 0, compression=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()
