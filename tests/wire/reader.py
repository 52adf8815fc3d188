"""Read HTTP/1 the strict way: what a proxy may put on the wire, and nothing else.

Requests at the origin and answers at the client are read by this one reader, which
shares no code with the proxy. What is readable but not canonical (two lengths, a
chunk extension, a folded line) is kept with the message as its ``problems``.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Literal

import attrs

Kind = Literal["request", "answer"]
Fields = list[tuple[bytes, bytes]]

REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.[01]")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9][0-9][0-9] [\t -~\x80-\xff]*")
FIELD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~\x80-\xff]|[\t ](?=.*[!-~\x80-\xff]))*)"
)
LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
FRAMING = {b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade"}
CHUNK = re.compile(rb"[0-9A-Fa-f]{1,16}")


@attrs.define(eq=False)
class Message:
    """One request or answer, as far as it came."""

    line: bytes = b""
    fields: Fields = attrs.field(factory=list)
    body: bytes = b""
    trailers: Fields = attrs.field(factory=list)
    raw: bytes = b""
    whole: bool = False
    """False when the connection ended in the middle of it."""
    problems: list[str] = attrs.field(factory=list)
    connection: int = 0
    informational: list[Message] = attrs.field(factory=list)
    """The 1xx that came before an answer."""

    def getall(self, name: bytes) -> list[bytes]:
        return [value for known, value in self.fields if known.lower() == name.lower()]

    def has(self, name: bytes) -> bool:
        return bool(self.getall(name))

    @property
    def method(self) -> bytes:
        return self.line.partition(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.partition(b" ")[2].rpartition(b" ")[0]

    @property
    def status(self) -> int:
        code = self.line[9:12]
        return int(code) if code.isdigit() else 0


class Reader:
    """The bytes of one socket, message after message."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()
        self._taken = bytearray()
        self.was_reset = False

    @property
    def rest(self) -> bytes:
        """What was received and belongs to no message."""
        return bytes(self._buffer)

    def next_message(
        self,
        kind: Kind,
        asked: bytes = b"GET",
        on_head: Callable[[Message], None] | None = None,
    ) -> Message | None:
        """The next message; None when the connection ends before its first byte.

        ``asked`` is the method an answer answers. ``on_head`` is told of the message
        before its body is read.
        """
        self._taken.clear()
        message = Message()
        try:
            if not self._buffer:
                self._fill()
        except EOFError:
            return None
        try:
            self._read_head(message, kind)
            if on_head is not None:
                on_head(message)
            self._read_content(message, kind, asked)
            message.whole = True
        except EOFError:
            self._consume(len(self._buffer))
        message.raw = bytes(self._taken)
        return message

    def _read_head(self, message: Message, kind: Kind) -> None:
        message.line = self._line()
        pattern = REQUEST_LINE if kind == "request" else STATUS_LINE
        if not pattern.fullmatch(message.line):
            message.problems.append(f"start line {message.line[:60]!r}")
        self._read_fields(message.fields, message.problems)
        check_framing(message, kind)

    def _read_content(self, message: Message, kind: Kind, asked: bytes) -> None:
        if kind == "answer" and is_bodiless(message.status, asked):
            return
        if message.has(b"transfer-encoding"):
            self._read_chunks(message)
        elif lengths := message.getall(b"content-length"):
            self._read_body(message, int(lengths[0]) if lengths[0].isdigit() else 0)
        elif kind == "answer":
            self._read_to_end(message)

    def _read_fields(self, fields: Fields, problems: list[str]) -> None:
        while line := self._line():
            if match := FIELD.fullmatch(line):
                fields.append((match[1], match[2]))
            else:
                problems.append(f"field line {line[:60]!r}")

    def _read_body(self, message: Message, length: int) -> None:
        while (missing := length - len(message.body)) > 0:
            if not self._buffer:
                self._fill()
            message.body += self._consume(min(missing, len(self._buffer)))

    def _read_chunks(self, message: Message) -> None:
        while True:
            size = self._line()
            if not CHUNK.fullmatch(size):
                message.problems.append(f"chunk size {size[:60]!r}")
                raise EOFError
            if not int(size, 16):
                break
            self._read_body(message, len(message.body) + int(size, 16))
            if self._line():
                message.problems.append("chunk without its CRLF")
        self._read_fields(message.trailers, message.problems)
        message.problems += [
            f"trailer {name!r}"
            for name, _ in message.trailers
            if name.lower() in FRAMING
        ]

    def _read_to_end(self, message: Message) -> None:
        try:
            while True:
                message.body += self._consume(len(self._buffer))
                self._fill()
        except EOFError:
            if self.was_reset:
                raise

    def _line(self) -> bytes:
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            self._fill()
        line = self._consume(end + 1)
        return (
            line.removesuffix(b"\n").removesuffix(b"\r")
            if line[-2:] == b"\r\n"
            else line
        )

    def _consume(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._taken += data
        return data

    def _fill(self) -> None:
        try:
            data = self._socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            self.was_reset = True
            data = b""
        if not data:
            raise EOFError
        self._buffer += data


def check_framing(message: Message, kind: Kind) -> None:
    """Note everything that two readers of one message could take differently."""
    lengths = message.getall(b"content-length")
    codings = message.getall(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        message.problems.append(f"framed more than once: {lengths} {codings}")
    message.problems += [
        f"content-length {value[:60]!r}"
        for value in lengths
        if not LENGTH.fullmatch(value)
    ]
    if codings not in ([], [b"chunked"]):
        message.problems.append(f"transfer-encoding {codings}")
    if kind == "request" and len(message.getall(b"host")) != 1:
        message.problems.append(f"host {message.getall(b'host')}")


def is_bodiless(status: int, asked: bytes) -> bool:
    """Whether an answer ends with its head, whatever its fields say."""
    is_tunnel = asked == b"CONNECT" and 200 <= status < 300
    is_informational = 100 <= status < 200
    return asked == b"HEAD" or is_tunnel or is_informational or status in (204, 304)
