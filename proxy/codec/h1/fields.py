"""Header fields: taken apart, checked, and rid of what concerns one connection alone.

Fields are a list in the order they came, with an index of lower-case names beside it;
the functions here edit both in step, before a ``Headers`` is made of them.
"""

from __future__ import annotations

from proxy.codec.h1.grammar import CODINGS, DECIMAL, FIELD
from proxy.codec.h1.wire import HeadLimits, WireError
from proxy.codec.orig_proto import ORIG_PROTO

Fields = list[tuple[bytes, bytes]]
Index = dict[bytes, bytes]
"""Lower-case names, each with its last value."""

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
        ORIG_PROTO,
    }
)
"""Fields of one connection (RFC 9110, 7.6.1); h2c's settings go with its Upgrade, and
what our sidecars tell each other over HTTP/2 is nobody's to say in HTTP/1.1."""

NEVER_NAMED = frozenset(
    {b"", b"upgrade", b"host", b"content-length", b"cookie", b"authorization"}
)
"""What Connection may name in vain: the message can't do without it."""

SINGLE = frozenset({b"content-length", b"host", b"transfer-encoding"})

NO_OPTIONS: frozenset[bytes] = frozenset()


def read_fields(
    data: bytes, start: int, end: int, limits: HeadLimits
) -> tuple[Fields, Index]:
    """The field lines from ``start`` to ``end``, each checked to its last byte.

    The bytes before ``start`` must be a CRLF. Raises WireError.
    """
    fields: Fields = FIELD.findall(data, start, end)
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
    return fields, index


def _check_single(fields: Fields) -> None:
    seen = set()
    for name, _ in fields:
        lower = name.lower()
        if lower in SINGLE:
            if lower in seen:
                raise WireError(f"more than one {lower.decode()}")
            seen.add(lower)


def _check_disguised(index: Index) -> None:
    # Some applications read `_` as `-` (CGI): a second framing field for them.
    for name in index:
        if b"_" in name and name.replace(b"_", b"-") in SINGLE:
            raise WireError("header field name disguised with an underscore")


def content_length(fields: Fields, index: Index) -> int | None:
    """The length the head tells; a roundabout number is written anew. Raises WireError."""
    value = index.get(b"content-length")
    if value is None:
        return None
    if DECIMAL.fullmatch(value) is None:
        raise WireError("malformed Content-Length")
    length = int(value)
    if value[0] == 48 and len(value) > 1:
        replace(fields, index, b"content-length", b"%d" % length)
    return length


def check_coding(coding: bytes) -> None:
    """Let through ``chunked`` alone. Raises WireError, 501 for another coding."""
    if coding.lower() == b"chunked":
        return
    if CODINGS.fullmatch(coding) is None:
        raise WireError("malformed Transfer-Encoding")
    raise WireError("transfer coding not understood", 501)


def members(value: bytes) -> list[bytes]:
    """What a list has between its commas (RFC 9110, 5.6.1), without blanks around it."""
    return [each.strip(b" \t") for each in value.split(b",")]


def connection_options(fields: Fields, index: Index) -> frozenset[bytes]:
    """What the Connection fields list, in lower case."""
    value = index.get(b"connection")
    if value is None:
        return NO_OPTIONS
    if len(fields) == len(index):
        return frozenset(members(value.lower()))
    values = [each for name, each in fields if name.lower() == b"connection"]
    return frozenset(members(b",".join(values).lower()))


def drop_hop_by_hop(
    fields: Fields, index: Index, options: frozenset[bytes], *, keeps_upgrade: bool
) -> None:
    """Drop what concerns this connection, save an Upgrade that is to be passed on."""
    keeps_upgrade = keeps_upgrade and b"upgrade" in options and _offer(fields, index)
    gone = [name for name in index if name in HOP_BY_HOP]
    if keeps_upgrade:
        gone.remove(b"upgrade")
    gone += [name for name in options if name in index and name not in NEVER_NAMED]
    drop(fields, index, gone)


def _offer(fields: Fields, index: Index) -> bool:
    """Leave in Upgrade what an upstream may be offered: not h2c. False if nothing is."""
    value = index.get(b"upgrade")
    if value is None:
        return False
    offered = [each for each in members(value) if each and each.lower() != b"h2c"]
    if not offered:
        return False
    replace(fields, index, b"upgrade", b", ".join(offered))
    return True


def drop(fields: Fields, index: Index, names: list[bytes]) -> None:
    """Drop every field of these lower-case names."""
    if len(names) == 1 and names[0] in index and len(fields) == len(index):
        del fields[list(index).index(names[0])]
        del index[names[0]]
    elif names:
        fields[:] = [each for each in fields if each[0].lower() not in names]
        for name in names:
            index.pop(name, None)


def replace(fields: Fields, index: Index, name: bytes, value: bytes) -> None:
    """Give a field, of which there is one, another value."""
    for place, (each, _) in enumerate(fields):
        if each.lower() == name:
            fields[place] = (each, value)
    index[name] = value
