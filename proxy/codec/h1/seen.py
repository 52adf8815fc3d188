"""The last head of a connection, kept because the next one is often the same.

Keep-alive clients and servers repeat themselves to the byte, but for a path or, once a
second, a date. What equals the last head has passed the same checks, so what became of
that is copied: 4 µs less for a request and its response. A head is kept when it comes
the second time in a row, so that one which never repeats costs a comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import attrs

from meshfilters.message import Headers, Written
from proxy.codec.h1.wire import HeadLimits

LARGEST = 1024
"""Bytes of a head that is kept: idle connections keep theirs."""


@attrs.define(eq=False)
class Seen:
    """One head: its bytes, and what became of them."""

    block: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    index: Mapping[bytes, bytes]
    """As a proxy: heads that are alike share it, and none may change it."""
    written: Written
    """What was written of the fields while nobody edited them."""
    limits: HeadLimits
    """What it was held against; a change of configuration makes others."""
    host: bytes = b""
    """Of a request."""
    status: int = 0
    """Of a response."""
    length: int = 0
    """Of a response's body."""
    keeps_alive: bool = True

    @classmethod
    def of(
        cls, block: bytes, headers: Headers, limits: HeadLimits, host: bytes = b""
    ) -> Seen:
        """A head that has just been read, before anybody may have edited it."""
        fields, index = tuple(headers.raw), MappingProxyType({**headers.index})
        return cls(block, fields, index, Written(wire_of(fields)), limits, host)

    def headers(self) -> Headers:
        """The fields, as if they had just been read."""
        return Headers.parsed(self.fields, self.index, self.written)


def wire_of(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Fields as they are written: in their order and spelling, a blank behind the colon."""
    return b"\r\n".join(map(b": ".join, fields)) + b"\r\n" if fields else b""
