"""HTTP/1.1 heads and bodies, both ways, without I/O.

A ``Reader`` holds what was received and not yet consumed. ``read_request`` and
``read_response`` take a head off it, a decoder takes the body off it; each returns
None when more bytes are needed, so nothing is parsed before somebody wants it: a
client that pipelines is held back by not being read. Two rules:

1. A framing error is fatal to the connection (RFC 9112, 9.3): the caller answers with
   the error's status, closes, and never looks at the reader again.
2. Heads are written anew from their parts. Hop-by-hop fields never leave this module.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from meshfilters.message import Headers
from proxy.codec import grammar
from proxy.codec.grammar import (
    ABSOLUTE,
    AUTHORITY_PORT,
    BAD_TARGET,
    BARE_LINE_END,
    CODINGS,
    DECIMAL,
    FIELD,
    HOST,
    REQUEST_LINE,
    STARTS_LINE,
    STATUS_LINE,
    VERSION,
)

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
        b"proxy-authenticate",
        b"proxy-authorization",
    }
)
"""Fields of one connection (RFC 9110, 7.6.1); h2c's settings go with its Upgrade."""

FRAMING = frozenset({b"content-length", b"host", b"transfer-encoding"})
SPECIAL = HOP_BY_HOP | {b"content-length", b"expect", b"trailer"}
BODILESS = frozenset({204, 304})
"""Final statuses that end with their head (RFC 9112, 6.3)."""


class WireError(Exception):
    """Bytes that are no message; ``status`` is what a client is to be told."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


class HeadLimits(Protocol):
    """Bounds of a head; ``proxy.config.model.Http`` has them."""

    @property
    def max_headers(self) -> int: ...
    @property
    def max_head(self) -> int: ...
    @property
    def max_target(self) -> int: ...


@attrs.define
class Reader:
    """Received bytes; those before ``start`` are consumed."""

    data: bytes = b""
    start: int = 0

    def feed(self, more: bytes) -> None:
        """Append what was received."""
        rest = self.data[self.start :] if self.start else self.data
        self.data = rest + more if rest else more
        self.start = 0

    def take(self, count: int) -> bytes:
        """Consume at most ``count`` bytes."""
        start, data = self.start, self.data
        if start == 0 and count >= len(data):
            self.data = b""
            return data
        piece = data[start : start + count]
        self.start = start + len(piece)
        if self.start == len(data):
            self.data, self.start = b"", 0
        return piece

    def __len__(self) -> int:
        return len(self.data) - self.start


class Decoder(Protocol):
    """A body's framing."""

    is_done: bool
    """Whether the last byte has been decoded; trailers are then there."""
    trailers: Headers

    @property
    def length(self) -> int | None:
        """Bytes of the whole body, if the head said."""
        ...

    def decode(self, reader: Reader) -> bytes:
        """Bytes of the body; ``b""`` when it is done or more must be received."""
        ...


@attrs.define
class RequestHead:
    """A request's head that has passed every check."""

    method: bytes
    target: bytes
    headers: Headers
    """End-to-end fields only."""
    host: bytes
    """Host without its port, lower-case; empty in HTTP/1.0 without one."""
    is_http10: bool
    keeps_alive: bool
    decoder: Decoder | None
    """None when there is no body."""
    expects_continue: bool


@attrs.define
class ResponseHead:
    """A response's head that has passed every check."""

    status: int
    headers: Headers
    keeps_alive: bool
    decoder: Decoder | None


def read_request(reader: Reader, limits: HeadLimits) -> RequestHead | None:
    """Take a request's head off ``reader``; None when it is not all there.

    Raises WireError, also on the start of something that can't become a request.
    """
    data, start = reader.data, reader.start
    if data.startswith(b"\r\n", start):
        start += 2  # one empty line is tolerated (RFC 9112, 2.2)
    end = data.find(b"\r\n\r\n", start)
    if end < 0 or end - start > limits.max_head:
        _check_partial_request(data, start, end, limits)
        return None
    line = REQUEST_LINE.match(data, start)
    if line is None:
        raise _bad_request_line(data, start)
    method, target, minor = line.groups()
    if len(target) > limits.max_target:
        raise WireError("request target too long", 414)
    if method == b"PRI":
        raise WireError("HTTP/2 is not spoken here")
    headers = _read_fields(data, line.end(), end + 2, limits)
    reader.start = end + 4
    return _request(method, target, headers, is_http10=minor == b"0")


def _check_partial_request(
    data: bytes, start: int, end: int, limits: HeadLimits
) -> None:
    first = data.find(b"\r\n", start)
    line_end = first if first >= 0 else len(data)
    if line_end - start > limits.max_target + 80:
        raise WireError("request target too long", 414)
    if end >= 0 or len(data) - start > limits.max_head + 3:
        raise WireError("head too large", 431)
    if BARE_LINE_END.search(data, start):
        raise WireError("a line must end in CRLF")
    if first >= 0:
        if REQUEST_LINE.match(data, start) is None:
            raise _bad_request_line(data, start)
    elif start < len(data) and data[start:] != b"\r":
        if STARTS_LINE.match(data, start) is None:
            raise WireError("malformed request line")


def _bad_request_line(data: bytes, start: int) -> WireError:
    version = VERSION.match(data, start)
    if version is not None and not data.startswith(b"PRI ", start):
        if version[1] != b"1" or version[2] not in b"01":
            return WireError("HTTP version not supported", 505)
    return WireError("malformed request line")


def _read_fields(data: bytes, start: int, end: int, limits: HeadLimits) -> Headers:
    """The field lines from ``start`` to ``end``, each checked to its last byte."""
    fields: list[tuple[bytes, bytes]] = FIELD.findall(data, start, end)
    if len(fields) != data.count(b"\r\n", start, end):
        raise WireError("malformed header field")
    if len(fields) > limits.max_headers:
        raise WireError("too many header fields", 431)
    if data.find(b" \r\n", start, end) >= 0 or data.find(b"\t\r\n", start, end) >= 0:
        fields = [(name, value.rstrip(b" \t")) for name, value in fields]
    index = {name.lower(): value for name, value in fields}
    if len(index) != len(fields):
        _check_single(fields)
    if data.find(b"_", start, end) >= 0:
        _check_disguised(index)
    return Headers.parsed(fields, index)


def _check_single(fields: list[tuple[bytes, bytes]]) -> None:
    seen = set()
    for name, _ in fields:
        lower = name.lower()
        if lower in FRAMING:
            if lower in seen:
                raise WireError(f"more than one {lower.decode()}")
            seen.add(lower)


def _check_disguised(index: dict[bytes, bytes]) -> None:
    # Some applications read `_` as `-` (CGI): a second framing field for them.
    for name in index:
        if b"_" in name and name.replace(b"_", b"-") in FRAMING:
            raise WireError("header field name disguised with an underscore")


def _request(
    method: bytes, target: bytes, headers: Headers, *, is_http10: bool
) -> RequestHead:
    index = headers.index
    host = index.get(b"host")
    if host is None:
        if not is_http10:
            raise WireError("no Host")
    elif HOST.fullmatch(host) is None:
        raise WireError("malformed Host")
    if target[0] != 47 or b"%" in target or b"#" in target:
        target, authority = _target(method, target)
        if authority is not None:
            if host is not None and authority.lower() != host.lower():
                raise WireError("Host differs from the request target")
            if host is None:
                headers.set(b"Host", authority)
            host = authority
    elif method == b"CONNECT":
        raise WireError("CONNECT needs host:port")
    head = RequestHead(
        method=method,
        target=target,
        headers=headers,
        host=b"" if host is None else _host_name(host),
        is_http10=is_http10,
        keeps_alive=not is_http10,
        decoder=None,
        expects_continue=False,
    )
    if not SPECIAL.isdisjoint(index):
        _read_special(head)
    return head


def _host_name(host: bytes) -> bytes:
    name, colon, port = host.rpartition(b":")
    if colon and port.isdigit():
        host = name
    return host.lower()


def _target(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """The target as the application will see it, and the authority it named."""
    if method == b"CONNECT":
        if AUTHORITY_PORT.match(target) is None:
            raise WireError("CONNECT needs host:port")
        return target, target
    if BAD_TARGET.search(target):
        raise WireError("malformed request target")
    if target[0] == 47:
        return target, None
    if target == b"*" and method == b"OPTIONS":
        return target, None
    absolute = ABSOLUTE.fullmatch(target)
    if absolute is None or HOST.fullmatch(absolute[1]) is None:
        raise WireError("malformed request target")
    path = absolute[2] or b"/"
    return (path if path[0] == 47 else b"/" + path), absolute[1]


def _read_special(head: RequestHead) -> None:
    """Framing, persistence and upgrade; drops the fields of this connection alone."""
    index = head.headers.index
    length = _content_length(head.headers)
    coding = index.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise WireError("both Content-Length and Transfer-Encoding")
        if head.is_http10:
            raise WireError("Transfer-Encoding in HTTP/1.0")
        _check_coding(coding)
        head.decoder = Chunked()
    elif length:
        if head.is_http10 and head.method in (b"GET", b"HEAD", b"DELETE"):
            raise WireError("a body is not expected with this method in HTTP/1.0")
        head.decoder = Sized(length)
    expect = index.get(b"expect")
    if expect is not None and not head.is_http10:
        if expect.lower() != b"100-continue":
            raise WireError("expectation not understood", 417)
        head.expects_continue = head.decoder is not None
    if expect is not None and not head.expects_continue:
        head.headers.remove(b"expect")
    tokens = _connection_tokens(head.headers)
    if b"close" in tokens:
        head.keeps_alive = False
    elif head.is_http10 and b"keep-alive" in tokens:
        head.keeps_alive = True
    may_upgrade = not head.is_http10 and head.decoder is None
    _drop_hop_by_hop(head.headers, tokens, keeps_upgrade=may_upgrade)


def _content_length(headers: Headers) -> int | None:
    value = headers.index.get(b"content-length")
    if value is None:
        return None
    if DECIMAL.fullmatch(value) is None:
        raise WireError("malformed Content-Length")
    length = int(value)
    if len(value) > 1 and value[0] == 48:
        headers.set(b"Content-Length", b"%d" % length)
    return length


def _check_coding(coding: bytes) -> None:
    if coding.lower() == b"chunked":
        return
    if CODINGS.fullmatch(coding) is None:
        raise WireError("malformed Transfer-Encoding")
    raise WireError("transfer coding not understood", 501)


def _connection_tokens(headers: Headers) -> set[bytes]:
    if b"connection" not in headers.index:
        return set()
    values = headers.getall(b"connection")
    return {token for value in values for token in grammar.SPLIT.split(value.lower())}


def _drop_hop_by_hop(
    headers: Headers, tokens: set[bytes], *, keeps_upgrade: bool
) -> None:
    """Drop the fields of this connection alone, save an Upgrade that is to be passed on.

    What Connection names goes too, but for what the message can't do without.
    """
    named = tokens - {
        b"upgrade",
        b"host",
        b"content-length",
        b"cookie",
        b"authorization",
    }
    offered = headers.index.get(b"upgrade", b"")
    protocols = [
        each for each in grammar.SPLIT.split(offered) if each.lower() != b"h2c"
    ]
    if keeps_upgrade and b"upgrade" in tokens and protocols != [b""] and protocols:
        headers.remove(*(HOP_BY_HOP - {b"upgrade"}), *named)
        if b", ".join(protocols) != offered:
            headers.set(b"Upgrade", b", ".join(protocols))
    else:
        headers.remove(*HOP_BY_HOP, *named)


def read_response(
    reader: Reader, limits: HeadLimits, method: bytes
) -> ResponseHead | None:
    """Take the head of a response to ``method`` off ``reader``; None when incomplete."""
    data, start = reader.data, reader.start
    end = data.find(b"\r\n\r\n", start)
    if end < 0 or end - start > limits.max_head:
        if end >= 0 or len(data) - start > limits.max_head + 3:
            raise WireError("head too large")
        if BARE_LINE_END.search(data, start) or not _may_start_response(data, start):
            raise WireError("malformed response head")
        return None
    line = STATUS_LINE.match(data, start)
    if line is None:
        raise WireError("malformed status line")
    headers = _read_fields(data, line.end(), end + 2, limits)
    reader.start = end + 4
    return _response(int(line[2]), headers, method, is_http10=line[1] == b"0")


def _may_start_response(data: bytes, start: int) -> bool:
    first = data[start : start + 7]
    return b"HTTP/1.".startswith(first) and (
        b"\r\n" not in data[start:] or STATUS_LINE.match(data, start) is not None
    )


def _response(
    status: int, headers: Headers, method: bytes, *, is_http10: bool
) -> ResponseHead:
    index = headers.index
    head = ResponseHead(
        status=status,
        headers=headers,
        keeps_alive=not is_http10,
        decoder=None,
    )
    is_tunnel = method == b"CONNECT" and 200 <= status < 300
    coding = index.get(b"transfer-encoding")
    length = _content_length(headers)
    if coding is not None:
        if length is not None:
            raise WireError("both Content-Length and Transfer-Encoding")
        if is_http10 or coding.lower() != b"chunked":
            raise WireError("transfer coding not understood")
    if is_tunnel or status < 200 or status == 204:
        headers.remove(b"content-length", b"transfer-encoding")
    elif method != b"HEAD" and status not in BODILESS:
        head.decoder = _response_decoder(coding, length)
        if isinstance(head.decoder, UntilClose):
            head.keeps_alive = False
    if not HOP_BY_HOP.isdisjoint(index):
        tokens = _connection_tokens(headers)
        if b"close" in tokens:
            head.keeps_alive = False
        elif is_http10 and b"keep-alive" in tokens and head.decoder is not None:
            head.keeps_alive = not isinstance(head.decoder, UntilClose)
        _drop_hop_by_hop(headers, tokens, keeps_upgrade=status == 101)
    return head


def _response_decoder(coding: bytes | None, length: int | None) -> Decoder | None:
    if coding is not None:
        return Chunked()
    if length is None:
        return UntilClose()
    return Sized(length) if length else None


NO_TRAILERS = Headers()


class Sized:
    """A body of a length its head told."""

    __slots__ = ("is_done", "left", "length", "trailers")

    def __init__(self, length: int) -> None:
        self.length = length
        self.left = length
        self.is_done = False
        self.trailers = NO_TRAILERS

    def decode(self, reader: Reader) -> bytes:
        piece = reader.take(self.left) if self.left else b""
        self.left -= len(piece)
        self.is_done = not self.left
        return piece


class UntilClose:
    """A response's body that ends with its connection."""

    __slots__ = ("is_done", "length", "trailers")

    def __init__(self) -> None:
        self.length: int | None = None
        self.is_done = False
        self.trailers = NO_TRAILERS

    def decode(self, reader: Reader) -> bytes:
        return reader.take(len(reader))


class Chunked:
    """A body in chunks, with trailers; extensions are dropped."""

    __slots__ = ("_at_line", "is_done", "left", "length", "trailers")

    def __init__(self) -> None:
        self.length: int | None = None
        self.left = -1
        """Bytes of the chunk to come; -1 before its size line, -2 in the trailers."""
        self.is_done = False
        self.trailers = NO_TRAILERS

    def decode(self, reader: Reader) -> bytes:
        """All the whole and partial chunks that are here, as one piece."""
        pieces: list[bytes] = []
        while not self.is_done:
            if self.left == -1:
                if not self._read_size(reader):
                    break
            elif self.left == -2:
                if not self._read_trailers(reader):
                    break
            elif self.left:
                piece = reader.take(self.left)
                if not piece:
                    break
                self.left -= len(piece)
                pieces.append(piece)
            elif not self._read_chunk_end(reader):
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_size(self, reader: Reader) -> bool:
        data, start = reader.data, reader.start
        end = data.find(b"\r\n", start, start + grammar.MAX_CHUNK_LINE)
        if end < 0:
            partial = data[start : start + grammar.MAX_CHUNK_LINE]
            if len(partial) == grammar.MAX_CHUNK_LINE:
                raise WireError("chunk extension too long")
            if partial and not _may_start_chunk(partial):
                raise WireError("malformed chunk size")
            return False
        line = grammar.CHUNK_LINE.match(data, start)
        if line is None or line.end() != end + 2:
            raise WireError("malformed chunk size")
        reader.start = end + 2
        self.left = int(line[1], 16) or -2
        return True

    def _read_chunk_end(self, reader: Reader) -> bool:
        ending = reader.data[reader.start : reader.start + 2]
        if not b"\r\n".startswith(ending):
            raise WireError("chunk longer than its size")
        if len(ending) < 2:
            return False
        reader.take(2)
        self.left = -1
        return True

    def _read_trailers(self, reader: Reader) -> bool:
        data, start = reader.data, reader.start
        if data.startswith(b"\r\n", start):
            reader.take(2)
            self.is_done = True
            return True
        end = data.find(b"\r\n\r\n", start)
        if end < 0 or end - start > _TrailerLimits.max_head:
            if len(data) - start > _TrailerLimits.max_head:
                raise WireError("trailers too large", 431)
            if BARE_LINE_END.search(data, start):
                raise WireError("a line must end in CRLF")
            return False
        # A field line is known by the CRLF before it, which is consumed here.
        block = b"\r\n" + data[start : end + 2]
        trailers = _read_fields(block, 2, len(block), _TrailerLimits)
        trailers.remove(*FORBIDDEN_TRAILERS)
        self.trailers = trailers
        reader.take(end + 4 - start)
        self.is_done = True
        return True


def _may_start_chunk(partial: bytes) -> bool:
    return grammar.STARTS_CHUNK_LINE.fullmatch(partial) is not None


@attrs.frozen
class _Bounds:
    max_headers: int
    max_head: int
    max_target: int = 0


_TrailerLimits = _Bounds(max_headers=32, max_head=8 * 1024)

FORBIDDEN_TRAILERS = (
    *SPECIAL,
    b"host",
    b"authorization",
    b"set-cookie",
    b"cookie",
    b"content-encoding",
    b"content-type",
    b"content-range",
    b"cache-control",
    b"max-forwards",
)
"""Fields that would change what the head said (RFC 9110, 6.5.1)."""
