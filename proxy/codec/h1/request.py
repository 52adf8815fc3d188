"""A request's head, read."""

from __future__ import annotations

import attrs

from meshfilters.message import Headers
from proxy.codec.h1.fields import (
    HOP_BY_HOP,
    Fields,
    Index,
    check_coding,
    connection_options,
    content_length,
    drop,
    drop_hop_by_hop,
    read_fields,
)
from proxy.codec.h1.framing import Chunked, Decoder, Sized
from proxy.codec.h1.grammar import (
    ABSOLUTE,
    AUTHORITY_PORT,
    BAD_TARGET,
    BARE_LINE_END,
    HOST,
    REQUEST_LINE,
    STARTS_LINE,
    VERSION,
)
from proxy.codec.h1.reader import Reader
from proxy.codec.h1.seen import LARGEST, Seen
from proxy.codec.h1.wire import HeadLimits, WireError

SPECIAL = HOP_BY_HOP | {b"content-length", b"expect"}
"""Fields a codec has to look at; most requests have none."""

SLASH = 0x2F

LINE_EXTRA = 80
"""What a request line has beside its target: a method of up to 64, the version."""


@attrs.define(eq=False)
class RequestHead:
    """A request's head that has passed every check."""

    method: bytes
    target: bytes
    headers: Headers
    """End-to-end fields, and an Upgrade that may be offered to the upstream."""
    host: bytes
    """Host without its port, lower-case; empty in HTTP/1.0 without one."""
    is_http10: bool
    keeps_alive: bool
    decoder: Decoder | None = None
    """None when there is no body."""
    expects_continue: bool = False


def read_request(reader: Reader, limits: HeadLimits) -> RequestHead | None:
    """Take a request's head off ``reader``; None when it is not all there.

    Raises WireError, also on the start of something that can't become a request.
    """
    data, start = reader.data, reader.start
    if data.startswith(b"\r\n", start):
        start += 2  # one empty line is tolerated (RFC 9112, 2.2)
    end = data.find(b"\r\n\r\n", start)
    if end < 0 or end + 4 - start > limits.max_head:
        _check_partial(reader, start, end, limits)
        return None
    line = REQUEST_LINE.match(data, start)
    if line is None:
        raise _bad_line(data, start)
    method, target, minor = line.groups()
    if len(target) > limits.max_target:
        raise WireError("request target too long", 414)
    if method == b"PRI":
        raise WireError("HTTP/2 is not spoken here")
    block = data[line.end() : end + 2]
    seen = reader.seen
    is_plain = _is_plain(method, target, minor)
    if seen is not None and is_plain and seen.block == block and seen.limits is limits:
        head = RequestHead(method, target, seen.headers(), seen.host, False, True)
        reader.skip(end + 4 - reader.start)
        return head
    try:
        fields, index = read_fields(data, line.end(), end + 2, limits)
        # Asked before such fields are dropped: a head with them is read anew each time.
        is_plain = is_plain and SPECIAL.isdisjoint(index)
        head = _request(method, target, fields, index, is_http10=minor == b"0")
    except WireError as error:
        error.method = method
        raise
    if is_plain:
        _remember(reader, block, head, limits)
    reader.skip(end + 4 - reader.start)
    return head


def _is_plain(method: bytes, target: bytes, minor: bytes) -> bool:
    """Whether the head's fields alone decide what becomes of them."""
    return (
        target[0] == SLASH
        and minor == b"1"
        and b"%" not in target
        and b"#" not in target
        and method != b"CONNECT"
    )


def _remember(
    reader: Reader, block: bytes, head: RequestHead, limits: HeadLimits
) -> None:
    if block == reader.last:
        reader.seen = Seen.of(block, head.headers, limits, host=head.host)
    elif len(block) <= LARGEST:
        reader.last = block


def _check_partial(reader: Reader, start: int, end: int, limits: HeadLimits) -> None:
    """Refuse at once what no further byte can mend: a client must not hang."""
    data, begun = reader.data, max(start, reader.checked)
    first = data.find(b"\r\n", start)
    line_end = first if first >= 0 else len(data)
    if line_end - start > limits.max_target + LINE_EXTRA:
        raise WireError("request target too long", 414)
    if end >= 0 or len(data) - start > limits.max_head:
        raise WireError("head too large", 431)
    if BARE_LINE_END.search(data, begun):
        raise WireError("a line must end in CRLF")
    reader.checked = max(start, len(data) - 1)
    if first >= 0:
        if first >= begun and REQUEST_LINE.match(data, start) is None:
            raise _bad_line(data, start)
    elif data[start:] not in (b"", b"\r") and STARTS_LINE.match(data, start) is None:
        raise WireError("malformed request line")


def _bad_line(data: bytes, start: int) -> WireError:
    version = VERSION.match(data, start)
    is_preface = data.startswith(b"PRI ", start)
    if version is not None and version[1] not in (b"1.0", b"1.1") and not is_preface:
        return WireError("HTTP version not supported", 505)
    return WireError("malformed request line")


def _request(
    method: bytes, target: bytes, fields: Fields, index: Index, *, is_http10: bool
) -> RequestHead:
    host = index.get(b"host")
    if host is None:
        if not is_http10:
            raise WireError("no Host")
    elif HOST.fullmatch(host) is None:
        raise WireError("malformed Host")
    if target[0] != SLASH or b"%" in target or b"#" in target:
        target, authority = _target(method, target)
        if authority is not None:
            if host is None:
                fields.insert(0, (b"Host", authority))
                index = {b"host": authority, **index}  # in step with the fields
            elif authority.lower() != host.lower():
                raise WireError("Host differs from the request target")
            host = authority
    elif method == b"CONNECT":
        raise WireError("CONNECT needs host:port")
    name = b"" if host is None else _host_name(host)
    headers = Headers.parsed(fields, index)
    head = RequestHead(method, target, headers, name, is_http10, not is_http10)
    if not SPECIAL.isdisjoint(index):
        _read_special(head, fields, index)
    return head


def _host_name(host: bytes) -> bytes:
    name, colon, port = host.rpartition(b":")
    return (name if colon and port.isdigit() else host).lower()


def _target(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """The target as the application will see it, and the authority it named."""
    if method == b"CONNECT":
        if AUTHORITY_PORT.fullmatch(target) is None:
            raise WireError("CONNECT needs host:port")
        return target, target
    if BAD_TARGET.search(target):
        raise WireError("malformed request target")
    if target[0] == SLASH:
        return target, None
    if target == b"*" and method == b"OPTIONS":
        return target, None
    absolute = ABSOLUTE.fullmatch(target)
    if absolute is None or HOST.fullmatch(absolute[1]) is None:
        raise WireError("malformed request target")
    path = absolute[2] or b"/"
    return (path if path[0] == SLASH else b"/" + path), absolute[1]


def _read_special(head: RequestHead, fields: Fields, index: Index) -> None:
    """Framing, persistence and upgrade; drops the fields of this connection alone."""
    head.decoder = _decoder(head, fields, index)
    _read_expect(head, fields, index)
    if HOP_BY_HOP.isdisjoint(index):
        return
    options = connection_options(fields, index)
    if b"close" in options:
        head.keeps_alive = False
    elif head.is_http10 and b"keep-alive" in options:
        head.keeps_alive = True
    may_upgrade = not head.is_http10 and head.decoder is None
    drop_hop_by_hop(fields, index, options, keeps_upgrade=may_upgrade)


def _decoder(head: RequestHead, fields: Fields, index: Index) -> Decoder | None:
    length = content_length(fields, index)
    coding = index.get(b"transfer-encoding")
    if head.method == b"CONNECT" and (length or coding is not None):
        # Of the two ends one may take it for the tunnel's (RFC 9110, 9.3.6).
        raise WireError("a body is not expected with CONNECT")
    if coding is None:
        if not length:
            return None
        if head.is_http10 and head.method in (b"GET", b"HEAD", b"DELETE"):
            # HAProxy refuses it too: old servers leave the body on the connection.
            raise WireError("a body is not expected with this method in HTTP/1.0")
        return Sized(length)
    if length is not None:
        raise WireError("both Content-Length and Transfer-Encoding")
    if head.is_http10:
        raise WireError("Transfer-Encoding in HTTP/1.0")
    check_coding(coding)
    return Chunked()


def _read_expect(head: RequestHead, fields: Fields, index: Index) -> None:
    expect = index.get(b"expect")
    if expect is None:
        return
    if not head.is_http10:
        if expect.lower() != b"100-continue":
            raise WireError("expectation not understood", 417)
        head.expects_continue = head.decoder is not None
    if not head.expects_continue:
        drop(fields, index, [b"expect"])
