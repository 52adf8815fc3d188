"""Heads of HTTP/2, taken apart and checked.

Whatever the library below lets through, nothing of a head gets past here that would mean
something else in HTTP/1.1: names and values are checked to their last byte, fields that
frame a message or concern one connection are refused (RFC 9113, 8.2 and 8.3). What
breaks the rules resets its stream; what is too much of a good thing is answered.
"""

from __future__ import annotations

import re

import attrs

from meshfilters.message import Headers
from proxy.codec.h1.fields import SINGLE
from proxy.codec.h1.framing import FORBIDDEN_TRAILERS
from proxy.codec.h1.grammar import AUTHORITY_PORT, BAD_TARGET, DECIMAL, HOST
from proxy.codec.h1.wire import HeadLimits
from proxy.codec.h2.codec import PROTOCOL_ERROR, Fields
from proxy.codec.orig_proto import ORIG_PROTO

_NAME = rb"[!#$%&'*+\-.^_`|~0-9a-z]+"
_VALUE = rb"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?"
BLOCK = re.compile(rb"(?:" + _NAME + rb"\x01" + _VALUE + rb"\x02)*")
"""Regular fields, each behind its name with a byte between that neither may have."""

METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
TARGET = re.compile(rb"/[!-~]*")
_STATUS = re.compile(rb"[1-9][0-9]{2}")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

CONNECTION_SPECIFIC = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
"""What HTTP/2 has no use for and forbids (RFC 9113, 8.2.2)."""

_SPECIAL = CONNECTION_SPECIFIC | {
    b"te",
    b"host",
    b"content-length",
    b"cookie",
    b"expect",
    ORIG_PROTO,
}

REQUEST_PSEUDO = frozenset(
    {b":method", b":scheme", b":authority", b":path", b":protocol"}
)


class HeadError(Exception):
    """A head that is refused: answered with ``status``, or reset with ``code``."""

    def __init__(
        self, detail: str, code: int = PROTOCOL_ERROR, status: int | None = None
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status


@attrs.define(eq=False)
class RequestHead:
    """A request's head that has passed every check."""

    method: bytes
    target: bytes
    headers: Headers
    """End-to-end fields; the first is Host, made of :authority."""
    host: bytes
    """Host without its port, lower-case."""
    length: int | None
    """Of the body, if it is known: 0 when there is none."""
    scheme: bytes
    protocol: bytes = b""
    """Of an extended CONNECT (RFC 8441)."""
    expects_continue: bool = False
    orig_proto: bytes | None = None
    """What another sidecar said the client spoke; it is among the fields no more."""


@attrs.define(eq=False)
class ResponseHead:
    """A response's head that has passed every check."""

    status: int
    headers: Headers
    length: int | None


def read_request(fields: Fields, is_end: bool, limits: HeadLimits) -> RequestHead:
    """A request's head. Raises HeadError."""
    pseudo: dict[bytes, bytes] = {}
    count = 0
    for name, value in fields:
        if name[:1] != b":":
            break
        if name in pseudo or name not in REQUEST_PSEUDO:
            raise HeadError(f"pseudo-header field {name!r} twice or unknown")
        pseudo[name] = value
        count += 1
    regular = list(fields[count:])
    index = _check(regular, limits)
    method, scheme = pseudo.get(b":method"), pseudo.get(b":scheme")
    target, authority = pseudo.get(b":path"), pseudo.get(b":authority")
    protocol = pseudo.get(b":protocol", b"")
    if method is None or METHOD.fullmatch(method) is None:
        raise HeadError("malformed or no :method")
    if method == b"CONNECT" and not protocol:
        if authority is None or target is not None or scheme is not None:
            raise HeadError("CONNECT is of :authority alone")
        if AUTHORITY_PORT.fullmatch(authority) is None:
            raise HeadError("CONNECT needs host:port")
        target = authority
    else:
        _check_target(method, scheme, target, protocol, limits)
    if authority is None:
        authority = index.get(b"host")
        if authority is None:
            raise HeadError("neither :authority nor Host")
    if HOST.fullmatch(authority) is None:
        raise HeadError("malformed :authority")
    assert target is not None
    head = RequestHead(
        method,
        target,
        Headers.parsed(regular, index),
        _host(authority),
        0 if is_end else None,
        scheme or b"",
        protocol,
    )
    if not _SPECIAL.isdisjoint(index):
        _read_special(head, regular, index, authority, is_end=is_end)
    regular.insert(0, (b"host", authority))
    index[b"host"] = authority
    return head


def _check(
    regular: list[tuple[bytes, bytes]], limits: HeadLimits
) -> dict[bytes, bytes]:
    """Check regular fields to the last byte; their index."""
    if len(regular) > limits.max_headers:
        raise HeadError("too many header fields", status=431)
    block = b"\x02".join(map(b"\x01".join, regular)) + b"\x02" if regular else b""
    if len(block) > limits.max_head:
        raise HeadError("head too large", status=431)
    if BLOCK.fullmatch(block) is None or block.count(b"\x02") != len(regular):
        raise HeadError("malformed header field")
    index = dict(regular)
    if len(index) != len(regular):
        seen = set()
        for name, _ in regular:
            if name in SINGLE and name in seen:
                raise HeadError(f"more than one {name.decode()}")
            seen.add(name)
    if b"_" in block:
        for name in index:
            if b"_" in name and name.replace(b"_", b"-") in SINGLE:
                raise HeadError("header field name disguised with an underscore")
    return index


def _check_target(
    method: bytes,
    scheme: bytes | None,
    target: bytes | None,
    protocol: bytes,
    limits: HeadLimits,
) -> None:
    if scheme not in (b"http", b"https"):
        raise HeadError("malformed or no :scheme")
    if target is None:
        raise HeadError("no :path")
    if len(target) > limits.max_target:
        raise HeadError("request target too long", status=414)
    if protocol and (method != b"CONNECT" or _TOKEN.fullmatch(protocol) is None):
        raise HeadError("malformed :protocol")
    if target == b"*" and method == b"OPTIONS":
        return
    if TARGET.fullmatch(target) is None or BAD_TARGET.search(target) is not None:
        raise HeadError("malformed :path")


def _host(authority: bytes) -> bytes:
    if b":" in authority:
        name, _, port = authority.rpartition(b":")
        if port.isdigit():
            authority = name
    return authority.lower()


def _read_special(
    head: RequestHead,
    fields: list[tuple[bytes, bytes]],
    index: dict[bytes, bytes],
    authority: bytes,
    *,
    is_end: bool,
) -> None:
    _check_connection_specific(fields, index)
    told = index.get(b"host")
    if told is not None:
        if told.lower() != authority.lower():
            raise HeadError("Host is not :authority")
        _drop(fields, index, b"host")
    length = _length(index, is_end=is_end)
    if head.method == b"CONNECT" and length is not None:
        raise HeadError("a length is not expected with CONNECT")
    if length is not None:
        head.length = length
    if b"cookie" in index:
        _join_cookies(fields, index)
    expect = index.get(b"expect")
    if expect is not None:
        if expect.lower() != b"100-continue":
            raise HeadError("expectation not understood", status=417)
        head.expects_continue = not is_end
        if is_end:
            _drop(fields, index, b"expect")
    head.orig_proto = index.get(ORIG_PROTO)
    if head.orig_proto is not None:
        _drop(fields, index, ORIG_PROTO)


def _check_connection_specific(
    fields: list[tuple[bytes, bytes]], index: dict[bytes, bytes]
) -> None:
    if not CONNECTION_SPECIFIC.isdisjoint(index):
        raise HeadError("a field of one HTTP/1.1 connection")
    if b"te" in index:
        told = {value.lower() for name, value in fields if name == b"te"}
        if told != {b"trailers"}:
            raise HeadError("TE other than trailers")


def _length(index: dict[bytes, bytes], *, is_end: bool) -> int | None:
    told = index.get(b"content-length")
    if told is None:
        return None
    if DECIMAL.fullmatch(told) is None:
        raise HeadError("malformed Content-Length")
    length = int(told)
    if is_end and length:
        raise HeadError("Content-Length of a body that is not there")
    return length


def _join_cookies(fields: list[tuple[bytes, bytes]], index: dict[bytes, bytes]) -> None:
    """Make one field of what HTTP/2 may have taken apart (RFC 9113, 8.2.3)."""
    crumbs = [value for name, value in fields if name == b"cookie"]
    if len(crumbs) > 1:
        joined = b"; ".join(crumbs)
        place = next(i for i, field in enumerate(fields) if field[0] == b"cookie")
        fields[place] = (b"cookie", joined)
        fields[place + 1 :] = [f for f in fields[place + 1 :] if f[0] != b"cookie"]
        index[b"cookie"] = joined


def _drop(
    fields: list[tuple[bytes, bytes]], index: dict[bytes, bytes], name: bytes
) -> None:
    fields[:] = [field for field in fields if field[0] != name]
    del index[name]


def read_response(
    fields: Fields, is_end: bool, method: bytes, limits: HeadLimits
) -> ResponseHead:
    """The head of a response to ``method``, final or not. Raises HeadError."""
    if not fields or fields[0][0] != b":status":
        raise HeadError("no :status")
    told = fields[0][1]
    if _STATUS.fullmatch(told) is None:
        raise HeadError("malformed :status")
    regular = list(fields[1:])
    index = _check(regular, limits)
    status = int(told)
    if status == 101:
        raise HeadError("101 has no place in HTTP/2")
    length: int | None = 0 if is_end else None
    if not _SPECIAL.isdisjoint(index):
        _check_connection_specific(regular, index)
        is_bodiless = method == b"HEAD" or status == 304 or status < 200
        told_length = _length(index, is_end=is_end and not is_bodiless)
        if not is_bodiless and told_length is not None:
            length = told_length
        if (status < 200 or status == 204) and b"content-length" in index:
            _drop(regular, index, b"content-length")
    return ResponseHead(status, Headers.parsed(regular, index), length)


@attrs.frozen
class _TrailerLimits:
    max_headers: int = 32
    max_head: int = 8 * 1024
    max_target: int = 0


_TRAILER_LIMITS = _TrailerLimits()


def read_trailers(fields: Fields) -> Headers:
    """What stands behind a body. Raises HeadError."""
    regular = list(fields)
    try:
        index = _check(regular, _TRAILER_LIMITS)
    except HeadError as error:
        raise HeadError(str(error)) from error
    for name in [name for name in index if name in FORBIDDEN_TRAILERS]:
        _drop(regular, index, name)
    return Headers.parsed(regular, index)
