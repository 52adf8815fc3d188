"""gRPC as frames: what a server sends that means to go wrong, or to be read closely."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.wire.backend import GREETING, Mistake, Request
from tests.wire.raw import (
    END_HEADERS,
    PADDED,
    Field,
    data,
    headers,
)

HEAD: tuple[Field, ...] = (
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
)
TRAILERS: tuple[Field, ...] = ((b"grpc-status", b"0"),)
PADDING = 255
"""Bytes; the most that a frame can have."""


def enveloped(message: bytes, *, compressed: int = 0) -> bytes:
    """A message behind its prefix: a byte that says whether it is compressed, a length."""
    return bytes((compressed,)) + len(message).to_bytes(4, "big") + message


def began(stream: int, *more: Field) -> bytes:
    return headers(stream, (*HEAD, *more), END_HEADERS)


def ended(stream: int) -> bytes:
    return headers(stream, TRAILERS)


def well(stream: int, request: Request | None = None) -> bytes:
    """A right answer."""
    return began(stream) + data(stream, enveloped(b"well"), 0) + ended(stream)


def crumbs(stream: int, content: bytes, *, size: int, padding: int = 0) -> list[bytes]:
    """DATA frames of ``size`` bytes each, and ``padding`` behind them."""
    pieces = (content[at : at + size] for at in range(0, len(content), size))
    if not padding:
        return [data(stream, each, 0) for each in pieces]
    before, behind = bytes((padding,)), bytes(padding)
    return [data(stream, before + each + behind, PADDED) for each in pieces]


def going(
    name: str,
    answer: Callable[[int], Iterable[bytes]],
    *,
    greeting: bytes = GREETING,
    always: bool = False,
) -> Mistake:
    """A mistake with the first request of one connection, or with all of all of them."""
    return Mistake(
        name, answer, greeting, lasts=always, every=always, heeds_windows=True
    )
