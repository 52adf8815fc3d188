"""The server name in a ClientHello, read without ending the TLS.

Only the fields on the way to the ``server_name`` extension are looked at (RFC 8446,
4.1.2 and RFC 6066, 3). Lengths that do not add up are a ValueError, never a guess.
"""

from __future__ import annotations

from meshfilters.stream import Stream

LARGEST = 16 * 1024
"""Bytes a ClientHello may take with its record headers; OpenSSL allows no more."""

_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0


class Incomplete(Exception):
    """The bytes so far may become a ClientHello; more are needed."""


def is_tls(head: bytes) -> bool:
    """Whether a connection that begins so speaks TLS: a handshake record's header."""
    return bool(head) and b"\x16\x03".startswith(head[:2])


async def peek_server_name(stream: Stream) -> str | None:
    """Wait for a whole ClientHello without consuming it, and return its server name.

    Raises ValueError for what is no ClientHello, or one larger than ``LARGEST``.
    """
    wanted, records = 1, _Records()
    while True:
        data = await stream.peek(LARGEST, wanted)
        try:
            return _server_name(records.read(data))
        except Incomplete:
            if len(data) == LARGEST:
                raise ValueError(f"a ClientHello of over {LARGEST} bytes") from None
            if len(data) < wanted:
                raise ValueError("the client left amid its ClientHello") from None
        wanted = len(data) + 1


def server_name(data: bytes) -> str | None:
    """The host name that the ClientHello at the start of ``data`` asks for."""
    return _server_name(_Records().read(data))


def _server_name(content: bytes) -> str | None:
    hello = _Reader(content)
    hello.skip(2 + 32)
    for size_of_length in (1, 2, 1):  # session id, cipher suites, compression
        hello.vector(size_of_length)
    if hello.is_at_end:
        return None
    extensions = _Reader(hello.vector(2))
    while not extensions.is_at_end:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            return _host_name(content)
    return None


def clean(name: bytes | None) -> str | None:
    """A server name that is fit for labels, logs and headers; any other is none."""
    if name is None or not 0 < len(name) <= 255:
        return None
    is_plain = name.replace(b"-", b"").replace(b".", b"").replace(b"_", b"").isalnum()
    return name.decode("ascii").lower() if is_plain else None


class _Records:
    """The records of a handshake, each looked at once however slowly they come."""

    def __init__(self) -> None:
        self._message = bytearray()
        self._at = 0

    def read(self, data: bytes) -> bytes:
        """The ClientHello's content; ``data`` is all that has come by now."""
        message = self._message
        while len(message) < 4 or len(message) < 4 + int.from_bytes(
            message[1:4], "big"
        ):
            start = self._at + 5
            header = data[self._at : start]
            if not bytes((_HANDSHAKE, 3)).startswith(header[:2]):
                raise ValueError("no TLS handshake record")
            size = int.from_bytes(header[3:5], "big")
            if len(header) == 5 and not 0 < size <= LARGEST:
                raise ValueError(f"a handshake record of {size} bytes")
            first = message[:1] or data[start : start + 1]
            if first and first[0] != _CLIENT_HELLO:
                raise ValueError("not a ClientHello")
            if len(header) < 5 or start + size > len(data):
                raise Incomplete
            message += data[start : start + size]
            self._at = start + size
        return bytes(message[4 : 4 + int.from_bytes(message[1:4], "big")])


def _host_name(content: bytes) -> str | None:
    names = _Reader(_Reader(content).vector(2))
    while not names.is_at_end:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            return clean(name)
    return None


class _Reader:
    """Numbers and length-prefixed vectors, in TLS's presentation language."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def skip(self, count: int) -> bytes:
        start, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise ValueError("a length in the ClientHello runs past its end")
        return self._data[start : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.skip(size), "big")

    def vector(self, size_of_length: int) -> bytes:
        return self.skip(self.number(size_of_length))
