"""The same bytes as a network may bring them: at once, or one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from proxy.codec.h1.framing import Decoder
from proxy.codec.h1.reader import Reader
from proxy.codec.h1.request import RequestHead, read_request
from proxy.codec.h1.response import ResponseHead, read_response
from proxy.codec.h1.wire import HeadLimits
from proxy.config.model import Http

Pieces = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> list[bytes]:
    return [data]


def bytewise(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


BOTH_WAYS = pytest.mark.parametrize("pieces", [whole, bytewise])


def request(
    pieces: Pieces, data: bytes, limits: HeadLimits | None = None
) -> RequestHead | None:
    """The head that ``data`` is, or None when it is not all of one."""
    reader = Reader()
    head = None
    for piece in pieces(data):
        assert head is None, "it took a head that was not whole"
        reader.feed(piece)
        head = read_request(reader, limits or Http())
    return head


def response(
    pieces: Pieces,
    data: bytes,
    method: bytes = b"GET",
    limits: HeadLimits | None = None,
) -> ResponseHead | None:
    reader = Reader()
    head = None
    for piece in pieces(data):
        assert head is None, "it took a head that was not whole"
        reader.feed(piece)
        head = read_response(reader, limits or Http(), method)
    return head


def body(pieces: Pieces, decoder: Decoder, data: bytes, reader: Reader) -> bytes:
    """What ``decoder`` makes of ``data``; what is behind it stays in ``reader``."""
    decoded = b""
    for piece in pieces(data):
        reader.feed(piece)
        decoded += decoder.decode(reader)
    return decoded
