"""HTTP/2 byte by byte: frames and header blocks, right or wrong, and nothing checked."""

from __future__ import annotations

from collections.abc import Iterable

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
UNKNOWN = 0x16
"""A type of frame that nobody has defined."""

END_STREAM, ACK = 0x1, 0x1
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20
WHOLE = END_HEADERS | END_STREAM

PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED = 0x1, 0x3, 0x5
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 0x6, 0x7, 0x8, 0x9
NO_ERROR, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 0x0, 0xB, 0xD

LARGEST_FRAME = 16_384
LARGEST_WINDOW = 2**31 - 1

Field = tuple[bytes, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame that tells its own length."""
    size = len(payload).to_bytes(3, "big")
    return size + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A field without indexing, its name spelled (RFC 7541, 6.2.2)."""
    return b"\x00" + _string(name) + _string(value)


def _string(data: bytes) -> bytes:
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, size = len(data) - 127, b"\x7f"
    while rest >= 128:
        size += bytes((rest % 128 + 128,))
        rest //= 128
    return size + bytes((rest,)) + data


def block(fields: Iterable[Field]) -> bytes:
    """Fields as HPACK, with no table and so with no state."""
    return b"".join(literal(name, value) for name, value in fields)


def headers(stream: int, fields: Iterable[Field], flags: int = WHOLE) -> bytes:
    return frame(HEADERS, flags, stream, block(fields))


def data(stream: int, payload: bytes = b"x", flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream, payload)


def priority(depends_on: int, weight: int = 15) -> bytes:
    """What PRIORITY carries; the highest bit of ``depends_on`` is the exclusive flag."""
    return depends_on.to_bytes(4, "big") + bytes((weight,))


def settings(*entries: tuple[int, int], stream: int = 0) -> bytes:
    told = (
        name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in entries
    )
    return frame(SETTINGS, 0, stream, b"".join(told))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def reset(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last: int = 0, code: int = NO_ERROR, stream: int = 0) -> bytes:
    payload = last.to_bytes(4, "big") + code.to_bytes(4, "big")
    return frame(GOAWAY, 0, stream, payload)


def ping(payload: bytes = b"12345678", flags: int = 0, stream: int = 0) -> bytes:
    return frame(PING, flags, stream, payload)
