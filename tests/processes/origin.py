"""An origin made for its own paths: streams, digests, and what it saw of a request.

Blocking sockets and a thread a connection, so that what is on the wire is plain to see.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, BinaryIO, Self

import attrs

from tests.processes.waiting import PATIENCE

BLOCK = 64 * 1024
_FILL = hashlib.shake_128(b"pattern").digest(BLOCK - 8)


def pattern(size: int) -> Iterator[bytes]:
    """Yield ``size`` bytes in blocks that all differ."""
    for start in range(0, size, BLOCK):
        yield (start.to_bytes(8, "big") + _FILL)[: size - start]


def digest(chunks: Iterator[bytes]) -> str:
    """Hash what ``chunks`` come to, whatever way they are cut."""
    hashed = hashlib.sha256()
    for chunk in chunks:
        hashed.update(chunk)
    return hashed.hexdigest()


@attrs.define
class Taken:
    """A request's body as it arrives."""

    headers: Any
    source: BinaryIO
    trailers: dict[str, str] = attrs.field(factory=dict)

    def chunks(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            yield from self._read(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self.source.readline().partition(b";")[0], 16):
            yield from self._read(size)
            self.source.readline()
        while line := self.source.readline().strip():
            name, _, value = line.decode().partition(":")
            self.trailers[name] = value.strip()

    def _read(self, size: int) -> Iterator[bytes]:
        while size and (data := self.source.read(min(size, BLOCK))):
            size -= len(data)
            yield data


class Answers(BaseHTTPRequestHandler):
    """One connection: ``/word/argument`` says what is answered."""

    protocol_version = "HTTP/1.1"
    wbufsize = 0
    server: Origin

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        word, _, argument = self.path.strip("/").partition("/")
        if self.server.fails and len(self.server.paths) % 2:
            word, argument = "status", "503"
        getattr(self, f"answer_{word.partition('?')[0]}", self.answer_seen)(argument)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def answer_seen(self, argument: str) -> None:
        """What came: the line, the headers, the body's digest and its trailers."""
        body = Taken(self.headers, self.rfile)  # type: ignore[arg-type]  # a BufferedReader
        hashed = digest(body.chunks())
        seen = {
            "line": self.requestline,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "digest": hashed,
            "trailers": body.trailers,
        }
        self._send(200, json.dumps(seen).encode())

    def answer_status(self, argument: str) -> None:
        self._send(int(argument), b"" if argument in ("204", "304") else b"as asked\n")

    def answer_pattern(self, argument: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", argument)
        self.end_headers()
        if self.command != "HEAD":
            for block in pattern(int(argument)):
                self.wfile.write(block)

    def answer_chunked(self, argument: str) -> None:
        """As many bytes of the pattern in chunks, with their digest in a trailer."""
        self._begin_chunked(("Trailer", "x-digest"))
        for block in pattern(int(argument)):
            self._chunk(block)
        hashed = digest(pattern(int(argument)))
        self.wfile.write(f"0\r\nx-digest: {hashed}\r\n\r\n".encode())

    def answer_events(self, argument: str) -> None:
        """An event a time that the test releases one."""
        self._begin_chunked(("Content-Type", "text/event-stream"))
        for number in range(int(argument)):
            if not self.server.released.acquire(timeout=PATIENCE):
                break
            self._chunk(f"data: {number}\n\n".encode())
        self._chunk(b"")

    def answer_forever(self, argument: str) -> None:
        """Until the other side goes away."""
        self._begin_chunked()
        self.close_connection = True
        try:
            while True:
                self._chunk(_FILL)
        except OSError:
            self.server.gone.set()

    def _begin_chunked(self, *headers: tuple[str, str]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        for header in headers:
            self.send_header(*header)
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Standard error is the proxy's."""


class Origin(ThreadingHTTPServer):
    """Serves from entering to leaving, on a port of its own or on ``port``."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Answers)
        self.paths: deque[str] = deque(maxlen=1000)
        """What was asked for lately."""
        self.fails = False
        """Whether every other request is answered with 503."""
        self.released = threading.Semaphore(0)
        self.gone = threading.Event()
        """Set when the client of ``/forever`` has gone."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        # A proxy may leave: that is what some tests are about.
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as it came

    def shutdown_request(self, request: Any) -> None:
        with suppress(OSError):
            super().shutdown_request(request)
