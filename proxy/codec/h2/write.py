"""Heads of HTTP/2, written: names in lower case, and nothing that frames HTTP/1.1.

The length follows from the body alone. Fields that a filter has edited are checked to
their last byte, as the reading side checks a peer's.
"""

from __future__ import annotations

from meshfilters.message import Headers
from proxy.codec.h1.fields import SINGLE
from proxy.codec.h1.framing import FORBIDDEN_TRAILERS
from proxy.codec.h1.grammar import HOST
from proxy.codec.h1.write import UnwritableHead
from proxy.codec.h2.codec import Fields
from proxy.codec.h2.fields import BLOCK, CONNECTION_SPECIFIC, METHOD, TARGET

DROPPED = CONNECTION_SPECIFIC | {b"host", b"proxy-authenticate", b"proxy-authorization"}
"""What does not go out: Host is :authority there."""


def write_request(
    method: bytes,
    target: bytes,
    headers: Headers,
    *,
    scheme: bytes,
    authority: bytes,
    length: int | None,
    protocol: bytes = b"",
) -> Fields:
    """A request's fields; ``length`` is its body's. Raises UnwritableHead."""
    written = None if headers.is_edited else headers.written
    key = method, target, authority, scheme, length, protocol
    if written is not None and written.h2 is not None and written.h2[0] == key:
        return written.h2[1]
    if METHOD.fullmatch(method) is None:
        raise UnwritableHead(f"not a method: {method!r}")
    fields = [(b":method", method)]
    if method == b"CONNECT" and not protocol:
        fields.append((b":authority", target))
    else:
        if TARGET.fullmatch(target) is None and target != b"*":
            raise UnwritableHead(f"not a request target: {target!r}")
        fields += [
            (b":scheme", scheme),
            (b":authority", authority),
            (b":path", target),
        ]
        if protocol:
            fields.append((b":protocol", protocol))
    if HOST.fullmatch(authority) is None:
        raise UnwritableHead(f"not an authority: {authority!r}")
    _write(fields, headers)
    _frame(fields, headers, length, tells_empty=False)
    if written is None:
        return fields
    kept = tuple(fields)
    written.h2 = key, kept
    return kept


def write_response(
    status: int, headers: Headers, length: int | None, *, is_bodiless: bool = False
) -> Fields:
    """A response's fields; ``is_bodiless`` keeps the length it tells of another's body."""
    written = None if headers.is_edited else headers.written
    key = status, length, is_bodiless
    if written is not None and written.h2 is not None and written.h2[0] == key:
        return written.h2[1]
    if not 100 <= status <= 999:
        raise UnwritableHead(f"not a status: {status}")
    fields = [(b":status", b"%d" % status)]
    if status < 200 or status == 204:
        headers.remove(b"content-length")
    _write(fields, headers)
    if not is_bodiless:
        _frame(fields, headers, length, tells_empty=True)
    if written is None:
        return fields
    kept = tuple(fields)
    written.h2 = key, kept
    return kept


def write_trailers(headers: Headers) -> Fields:
    """The fields behind a body. Raises UnwritableHead."""
    if headers.is_edited and not FORBIDDEN_TRAILERS.isdisjoint(headers.index):
        raise UnwritableHead("a trailer that would change what the head said")
    fields: list[tuple[bytes, bytes]] = []
    _write(fields, headers)
    return fields


def _write(fields: list[tuple[bytes, bytes]], headers: Headers) -> None:
    """Add what goes out of ``headers``, in lower case."""
    raw = headers.raw
    is_plain = DROPPED.isdisjoint(headers.index)
    start = len(fields)
    for field in raw:
        name = field[0]
        if not name.islower():
            lower = name.lower()
            if lower != name:
                field = (lower, field[1])
                name = lower
        if is_plain or name not in DROPPED:
            fields.append(field)
    if headers.is_edited:
        _check_edited(fields[start:], headers)


def _check_edited(fields: list[tuple[bytes, bytes]], headers: Headers) -> None:
    try:
        block = b"".join(b"%b\x01%b\x02" % field for field in fields)
    except TypeError as error:
        raise UnwritableHead("a header field is not bytes") from error
    if BLOCK.fullmatch(block) is None or block.count(b"\x02") != len(fields):
        for name, value in fields:
            if BLOCK.fullmatch(b"%b\x01%b\x02" % (name, value)) is None:
                raise UnwritableHead(f"header field {name!r} has bytes it may not have")
        raise UnwritableHead("a header field has bytes it may not have")
    if len(headers.index) != len(headers.raw):
        for name in SINGLE:
            if len(headers.getall(name)) > 1:
                raise UnwritableHead(f"more than one {name.decode()}")


def _frame(
    fields: list[tuple[bytes, bytes]],
    headers: Headers,
    length: int | None,
    *,
    tells_empty: bool,
) -> None:
    """Have Content-Length say what is known of the body, and nothing else."""
    told = headers.index.get(b"content-length")
    if told is not None:
        if length is not None and told == b"%d" % length:
            return
        fields[:] = [field for field in fields if field[0] != b"content-length"]
    if length or (tells_empty and length == 0):
        fields.append((b"content-length", b"%d" % length))
