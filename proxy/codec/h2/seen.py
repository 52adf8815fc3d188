"""The last head of a connection, kept because the next one is often the same.

A client that calls one method again and again sends equal fields; what equals the last
head has passed the same checks, so what became of that is copied: a third of what reading
it anew costs. See ``proxy/codec/h1/seen.py``, which does so for HTTP/1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from meshfilters.message import Headers, Written
from proxy.codec.h1.wire import HeadLimits
from proxy.codec.h2.codec import Fields
from proxy.codec.h2.fields import (
    RequestHead,
    ResponseHead,
    read_request,
    read_response,
    read_trailers,
)

LARGEST = 40
"""Fields of a head that is kept: idle connections keep theirs."""

NOTHING = Headers()


class Requests:
    """Reads the requests' heads of one connection."""

    __slots__ = (
        "_fields",
        "_head",
        "_index",
        "_is_end",
        "_limits",
        "_raw",
        "_written",
    )

    _head: RequestHead
    _raw: tuple[tuple[bytes, bytes], ...]
    _index: Mapping[bytes, bytes]
    _written: Written

    def __init__(self) -> None:
        self._fields: Fields = ()
        self._is_end = False
        self._limits: HeadLimits | None = None

    def read(self, fields: Fields, is_end: bool, limits: HeadLimits) -> RequestHead:
        """A request's head. Raises HeadError."""
        if limits is self._limits and is_end == self._is_end and fields == self._fields:
            seen = self._head
            return RequestHead(
                seen.method,
                seen.target,
                Headers.parsed(self._raw, self._index, self._written),
                seen.host,
                seen.length,
                seen.scheme,
                seen.protocol,
                seen.expects_continue,
                seen.orig_proto,
            )
        head = read_request(fields, is_end, limits)
        if len(fields) <= LARGEST:
            self._fields, self._is_end, self._limits = fields, is_end, limits
            self._raw, self._index = _fixed(head.headers)
            self._written = Written()
            # Not the head itself: whoever gets it may change it.
            self._head = RequestHead(
                head.method,
                head.target,
                NOTHING,
                head.host,
                head.length,
                head.scheme,
                head.protocol,
                head.expects_continue,
                head.orig_proto,
            )
        return head


class Responses:
    """Reads the final responses' heads of one connection."""

    __slots__ = (
        "_fields",
        "_index",
        "_is_end",
        "_length",
        "_raw",
        "_status",
        "_written",
    )

    _raw: tuple[tuple[bytes, bytes], ...]
    _index: Mapping[bytes, bytes]
    _written: Written
    _status: int
    _length: int | None

    def __init__(self) -> None:
        self._fields: Fields = ()
        self._is_end = False

    def read(
        self, fields: Fields, is_end: bool, method: bytes, limits: HeadLimits
    ) -> ResponseHead:
        """The head of a response to ``method``. Raises HeadError."""
        is_plain = method != b"HEAD"
        if is_plain and is_end == self._is_end and fields == self._fields:
            headers = Headers.parsed(self._raw, self._index, self._written)
            return ResponseHead(self._status, headers, self._length)
        head = read_response(fields, is_end, method, limits)
        if is_plain and len(fields) <= LARGEST:
            self._fields, self._is_end = fields, is_end
            self._raw, self._index = _fixed(head.headers)
            self._written = Written()
            self._status, self._length = head.status, head.length
        return head


class Trailers:
    """Reads what stands behind the bodies of one connection: of gRPC, always the same."""

    __slots__ = ("_fields", "_headers")

    _headers: Headers

    def __init__(self) -> None:
        self._fields: Fields | None = None

    def read(self, fields: Fields) -> Headers:
        """The fields of one message. Raises HeadError."""
        if fields == self._fields:
            return self._headers.copy()
        headers = read_trailers(fields)
        if len(fields) <= LARGEST:
            self._fields = fields
            self._headers = Headers.parsed(*_fixed(headers))
        return headers


def _fixed(
    headers: Headers,
) -> tuple[tuple[tuple[bytes, bytes], ...], Mapping[bytes, bytes]]:
    """The fields for heads that are alike to share: none may change them."""
    return tuple(headers.raw), MappingProxyType({**headers.index})
