"""A client that speaks HTTP/2 frame by frame, and may speak it wrongly."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import attrs
import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

from tests.wire.client import Address

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE = 5.0
"""Seconds; only a failing test waits so long."""

Fields = Sequence[tuple[bytes, bytes]]

GET: Fields = (
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"app"),
    (b":path", b"/"),
)


@attrs.define(eq=False)
class Answer:
    """What came on one stream."""

    status: int | None = None
    fields: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    data: bytes = b""
    reset: int | None = None
    is_ended: bool = False

    @property
    def is_over(self) -> bool:
        return self.is_ended or self.reset is not None


class Frames:
    """One connection; what comes is taken in whenever something is waited for."""

    def __init__(
        self,
        address: Address,
        *,
        greets: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.sock = socket.create_connection(address)
        self.sock.settimeout(PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="app")
        self.answers: dict[int, Answer] = {}
        self.goaway: GoAwayFrame | None = None
        self.has_ended = False
        self.received: list[Frame] = []
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._buffer = b""
        if greets:
            self.sock.sendall(PREFACE + SettingsFrame(0).serialize())

    def __enter__(self) -> Frames:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sock.close()

    def block(self, fields: Fields) -> bytes:
        """Fields as HPACK has them, however wrong they are."""
        return self._encoder.encode([*fields], huffman=False)

    def head(
        self, stream: int, fields: Fields = GET, *, is_end: bool = True
    ) -> HeadersFrame:
        flags = ["END_HEADERS", "END_STREAM"] if is_end else ["END_HEADERS"]
        return HeadersFrame(stream, self.block(fields), flags=flags)

    def send(self, *frames: Frame | bytes) -> bool:
        """Send; False when the other side has gone."""
        data = b"".join(f if isinstance(f, bytes) else f.serialize() for f in frames)
        try:
            self.sock.sendall(data)
        except OSError:
            self.has_ended = True
            return False
        return True

    def ask(self, stream: int, fields: Fields = GET) -> Answer:
        """Send a request and wait for what becomes of it."""
        self.send(self.head(stream, fields))
        return self.wait_for(stream)

    def wait_for(self, stream: int) -> Answer:
        answer = self.answers.setdefault(stream, Answer())
        self.wait(lambda: answer.is_over)
        return answer

    def wait(self, condition: Callable[[], object]) -> None:
        """Take in what comes until ``condition`` holds, or the connection is over."""
        deadline = time.monotonic() + PATIENCE
        while not condition() and not self.has_ended:
            assert time.monotonic() < deadline, "nothing came of it in time"
            self.take()

    def take_soon(self) -> None:
        """Take in what is here."""
        self.sock.settimeout(0)
        try:
            while not self.has_ended:
                self.take()
        except BlockingIOError:
            pass
        finally:
            self.sock.settimeout(PATIENCE)

    def take(self) -> None:
        """Take in a read's worth of frames."""
        try:
            data = self.sock.recv(65536)
        except (BlockingIOError, TimeoutError):
            raise
        except ssl.SSLWantReadError as error:
            raise BlockingIOError from error
        except OSError:
            data = b""
        if not data:
            self.has_ended = True
            return
        self._buffer += data
        while len(self._buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
            if len(self._buffer) < 9 + length:
                return
            frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        self.received.append(frame)
        answer = self.answers.setdefault(frame.stream_id, Answer())
        if isinstance(frame, HeadersFrame):
            for name, value in self._decoder.decode(frame.data, raw=True):
                if name == b":status":
                    answer.status = int(value)
                answer.fields.append((name, value))
        elif isinstance(frame, DataFrame):
            answer.data += frame.data
        elif isinstance(frame, RstStreamFrame):
            answer.reset = frame.error_code
        elif isinstance(frame, GoAwayFrame):
            self.goaway = frame
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.send(SettingsFrame(0, flags=["ACK"]))
        if "END_STREAM" in frame.flags:
            answer.is_ended = True
