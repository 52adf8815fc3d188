"""A response's head, read."""

from __future__ import annotations

import attrs

from meshfilters.message import Headers
from proxy.codec.h1.fields import (
    HOP_BY_HOP,
    Fields,
    Index,
    connection_options,
    content_length,
    drop,
    drop_hop_by_hop,
    read_fields,
)
from proxy.codec.h1.framing import Chunked, Decoder, Sized, UntilClose
from proxy.codec.h1.grammar import BARE_LINE_END, STATUS_LINE
from proxy.codec.h1.reader import Reader
from proxy.codec.h1.seen import LARGEST, Seen
from proxy.codec.h1.wire import HeadLimits, WireError

BY_METHOD = frozenset({b"HEAD", b"CONNECT"})
"""Methods that change what a response's head means."""

BODILESS = frozenset({204, 304})
"""Final statuses that end with their head (RFC 9112, 6.3)."""


@attrs.define(eq=False)
class ResponseHead:
    """A response's head that has passed every check."""

    status: int
    headers: Headers
    """End-to-end fields, and the Upgrade of a 101."""
    keeps_alive: bool
    decoder: Decoder | None = None
    """None when there is no body."""


def read_response(
    reader: Reader, limits: HeadLimits, method: bytes
) -> ResponseHead | None:
    """Take the head of a response to ``method`` off ``reader``; None when incomplete.

    Raises WireError, also on the start of something that can't become a response.
    """
    data, start = reader.data, reader.start
    end = data.find(b"\r\n\r\n", start)
    if end < 0 or end + 4 - start > limits.max_head:
        _check_partial(reader, start, end, limits)
        return None
    block = data[start : end + 4]
    seen = reader.seen
    is_plain = method not in BY_METHOD
    if seen is not None and is_plain and seen.block == block and seen.limits is limits:
        reader.skip(end + 4 - reader.start)
        decoder = Sized(seen.length) if seen.length else None
        return ResponseHead(seen.status, seen.headers(), seen.keeps_alive, decoder)
    line = STATUS_LINE.match(data, start)
    if line is None:
        raise WireError("malformed status line")
    fields, index = read_fields(data, line.end(), end + 2, limits)
    reader.skip(end + 4 - reader.start)
    head = _response(int(line[2]), fields, index, method, is_http10=line[1] == b"0")
    if is_plain and head.status >= 200:
        _remember(reader, block, head, limits)
    return head


def _remember(
    reader: Reader, block: bytes, head: ResponseHead, limits: HeadLimits
) -> None:
    length = 0 if head.decoder is None else head.decoder.length
    if length is None:
        return
    if block == reader.last:
        reader.seen = seen = Seen.of(block, head.headers, limits)
        seen.status, seen.length = head.status, length
        seen.keeps_alive = head.keeps_alive
    elif len(block) <= LARGEST:
        reader.last = block


def _check_partial(reader: Reader, start: int, end: int, limits: HeadLimits) -> None:
    data, begun = reader.data, max(start, reader.checked)
    if end >= 0 or len(data) - start > limits.max_head:
        raise WireError("head too large")
    if not b"HTTP/1.".startswith(data[start : start + 7]):
        raise WireError("malformed status line")
    if BARE_LINE_END.search(data, begun):
        raise WireError("a line must end in CRLF")
    reader.checked = max(start, len(data) - 1)
    if data.find(b"\r\n", start) >= begun and STATUS_LINE.match(data, start) is None:
        raise WireError("malformed status line")


def _response(
    status: int, fields: Fields, index: Index, method: bytes, *, is_http10: bool
) -> ResponseHead:
    head = ResponseHead(status, Headers.parsed(fields, index), not is_http10)
    length = content_length(fields, index)
    coding = index.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise WireError("both Content-Length and Transfer-Encoding")
        if is_http10 or coding.lower() != b"chunked":
            raise WireError("transfer coding not understood")
    is_tunnel = method == b"CONNECT" and 200 <= status < 300
    if is_tunnel or status < 200 or status == 204:
        # They have no body, whatever they say (RFC 9110, 8.6; RFC 9112, 6.1).
        drop(fields, index, [b"content-length", b"transfer-encoding"])
    elif method != b"HEAD" and status not in BODILESS:
        head.decoder = _decoder(coding, length)
        if type(head.decoder) is UntilClose:
            head.keeps_alive = False
    if not HOP_BY_HOP.isdisjoint(index):
        _read_connection(head, fields, index, is_http10=is_http10)
    return head


def _decoder(coding: bytes | None, length: int | None) -> Decoder | None:
    if coding is not None:
        return Chunked()
    if length is None:
        return UntilClose()
    return Sized(length) if length else None


def _read_connection(
    head: ResponseHead, fields: Fields, index: Index, *, is_http10: bool
) -> None:
    options = connection_options(fields, index)
    if b"close" in options:
        head.keeps_alive = False
    elif is_http10 and b"keep-alive" in options and type(head.decoder) is Sized:
        head.keeps_alive = True
    drop_hop_by_hop(fields, index, options, keeps_upgrade=head.status == 101)
