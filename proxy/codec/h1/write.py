"""HTTP/1.1 heads and chunks, written.

Framing follows from the body's length alone: Content-Length when it is known, chunked
when it is not. Fields that a filter has edited are checked against the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

from meshfilters.message import Headers
from proxy.codec.h1.fields import SINGLE
from proxy.codec.h1.framing import FORBIDDEN_TRAILERS
from proxy.codec.h1.grammar import FIELDS, TOKEN
from proxy.codec.h1.seen import wire_of

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_REQUEST_LINE = re.compile(TOKEN + rb"+ [!-~]+ HTTP/1\.1\r\n")
_LINE_REST = len("  HTTP/1.1\r\n")
_OURS = frozenset({b"connection", b"transfer-encoding"})
_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}


class UnwritableHead(Exception):
    """A filter put something in a head that the wire can't carry."""


def write_request(
    method: bytes, target: bytes, headers: Headers, length: int | None
) -> bytes:
    """A request's head; ``length`` is its body's, None to send it in chunks.

    An Upgrade field among ``headers`` is announced in Connection. Raises UnwritableHead.
    """
    written = None if headers.is_edited else headers.written
    key = method, target, length
    if written is not None and written.h1 is not None and written.h1[0] == key:
        return written.h1[1]
    framing = _framing(headers, length, tells_empty=False)
    if b"upgrade" in headers.index:
        framing += b"Connection: upgrade\r\n"
    fields = _write_fields(headers)
    head = b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method, target, fields, framing)
    line = _REQUEST_LINE.match(head)
    # To its end: a target with a whole line in it would begin a second request.
    if line is None or line.end() != len(method) + len(target) + _LINE_REST:
        raise UnwritableHead(f"not a request line: {method!r} {target!r}")
    if written is not None:
        written.h1 = key, head
    return head


def write_response(
    status: int,
    headers: Headers,
    length: int | None,
    *,
    is_bodiless: bool = False,
    connection: bytes = b"",
) -> bytes:
    """A response's head. ``connection`` is a whole Connection field line, or nothing.

    ``is_bodiless`` for what ends with its head whatever its fields say: answers to
    HEAD, 1xx, 204, 304. With no ``length`` and a ``connection`` that closes, the caller
    may leave the body without framing by setting ``is_bodiless`` too (HTTP/1.0).
    """
    written = None if headers.is_edited else headers.written
    key = status, length, is_bodiless, connection
    if written is not None and written.h1 is not None and written.h1[0] == key:
        return written.h1[1]
    if not is_bodiless:
        if status < 200:
            raise UnwritableHead(f"not a status that ends an exchange: {status}")
        framing = _framing(headers, length, tells_empty=True)
    else:
        framing = b""
        if length is None or status < 200 or status == 204:
            headers.remove(b"content-length")
    line = _STATUS_LINES.get(status) or _status_line(status)
    head = b"%b%b%b%b\r\n" % (line, _write_fields(headers), framing, connection)
    if written is not None:
        written.h1 = key, head
    return head


def _status_line(status: int) -> bytes:
    if not 100 <= status <= 999:
        raise UnwritableHead(f"not a status: {status}")
    return b"HTTP/1.1 %d Status\r\n" % status


def write_chunk(data: bytes) -> bytes:
    """One chunk; not for the empty one, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def write_last_chunk(trailers: Headers) -> bytes:
    """The end of a chunked body. Raises UnwritableHead."""
    if not trailers:
        return LAST_CHUNK
    if trailers.is_edited and not FORBIDDEN_TRAILERS.isdisjoint(trailers.index):
        raise UnwritableHead("a trailer that would change what the head said")
    return b"0\r\n%b\r\n" % _write_fields(trailers)


def _framing(headers: Headers, length: int | None, *, tells_empty: bool) -> bytes:
    """The framing field the head still lacks; drops one that is wrong."""
    told = headers.index.get(b"content-length")
    if length is None:
        if told is not None:
            headers.remove(b"content-length")
        return b"Transfer-Encoding: chunked\r\n"
    if told is not None:
        if told == b"%d" % length:
            return b""
        headers.remove(b"content-length")
    elif not length and not tells_empty:
        return b""
    return b"Content-Length: %d\r\n" % length


def _write_fields(headers: Headers) -> bytes:
    raw = headers.raw
    if not headers.is_edited:
        block = None if headers.written is None else headers.written.block
        return wire_of(raw) if block is None else block
    try:
        block = wire_of(raw)
    except TypeError as error:
        raise UnwritableHead(_bad_field(raw)) from error
    if block:
        if FIELDS.fullmatch(block) is None or block.count(b"\r\n") != len(raw):
            raise UnwritableHead(_bad_field(raw))
        if not _OURS.isdisjoint(headers.index):
            raise UnwritableHead("Connection and Transfer-Encoding are the codec's")
        if len(headers.index) != len(raw):
            _check_single(headers)
    return block


def _bad_field(raw: Sequence[tuple[object, object]]) -> str:
    """Which field it is, for whoever wrote the filter."""
    for name, value in raw:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            return f"header field {name!r}: {value!r} is not bytes"
        if FIELDS.fullmatch(b"%b: %b\r\n" % (name, value)) is None or b"\r" in value:
            return f"header field {name!r} has bytes it may not have"
    return "a header field has bytes it may not have"


def _check_single(headers: Headers) -> None:
    for name in SINGLE:
        if len(headers.getall(name)) > 1:
            raise UnwritableHead(f"more than one {name.decode()}")
