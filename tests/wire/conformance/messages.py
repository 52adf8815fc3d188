"""Requests that are none (RFC 9113, 8), and header blocks that can't be read (RFC 7541)."""

from __future__ import annotations

from tests.wire.conformance.case import Case, broken, case, failed, post
from tests.wire.frames import GET
from tests.wire.raw import (
    COMPRESSION_ERROR,
    END_HEADERS,
    HEADERS,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    WHOLE,
    Field,
    block,
    data,
    frame,
    headers,
)

METHOD, SCHEME, AUTHORITY, PATH = GET
ON = block(GET)
MALFORMED = failed(PROTOCOL_ERROR)
LENGTH = (b"content-length", b"1")


def malformed(name: str, *fields: Field) -> Case:
    """A head that is refused for one of its fields."""
    return case(name, MALFORMED, headers(1, fields))


HEADS: list[Case] = [
    malformed("8.2-upper-case", *GET, (b"X-TEST", b"1")),
    malformed("8.2.2-connection", *GET, (b"connection", b"keep-alive")),
    malformed("8.2.2-te", *GET, (b"te", b"trailers, deflate")),
    malformed("8.3-unknown", *GET, (b":test", b"1")),
    malformed("8.3-of-responses", *GET, (b":status", b"200")),
    malformed("8.3-late", METHOD, SCHEME, AUTHORITY, (b"x-test", b"1"), PATH),
    malformed("8.3-all-late", (b"x-test", b"1"), *GET),
    malformed("8.3.1-empty-path", METHOD, SCHEME, AUTHORITY, (b":path", b"")),
    malformed("8.3.1-no-method", SCHEME, AUTHORITY, PATH),
    malformed("8.3.1-no-scheme", METHOD, AUTHORITY, PATH),
    malformed("8.3.1-no-path", METHOD, SCHEME, AUTHORITY),
    malformed("8.3.1-two-methods", METHOD, *GET),
    malformed("8.3.1-method-again", *GET, METHOD),
    malformed("8.3.1-scheme-again", *GET, SCHEME),
    malformed("8.3.1-path-again", *GET, PATH),
    malformed("8.3.1-two-schemes", METHOD, SCHEME, SCHEME, AUTHORITY, PATH),
    malformed("8.3.1-two-paths", METHOD, SCHEME, AUTHORITY, PATH, PATH),
]

BODIES: list[Case] = [
    case(
        "8.1-headers-without-end",
        MALFORMED,
        post(),
        headers(1, GET, END_HEADERS),
        reaches="start",
    ),
    case(
        "8.1-trailers-without-end",
        MALFORMED,
        post(1, (b"trailer", b"x-test")),
        data(1, b"test", 0),
        headers(1, [(b"x-test", b"ok")], END_HEADERS),
        reaches="start",
    ),
    case(
        "8.1-pseudo-in-trailers-without-end",
        MALFORMED,
        post(),
        data(1, b"test", 0),
        headers(1, [METHOD], END_HEADERS),
        reaches="start",
    ),
    case(
        "8.1-pseudo-in-trailers",
        MALFORMED,
        post(1, (b"trailer", b"x-test")),
        data(1, b"test", 0),
        headers(1, [(b":method", b"200"), (b"x-test", b"ok")]),
        reaches="start",
    ),
    case("8.1.1-longer", MALFORMED, post(1, LENGTH), data(1, b"test"), reaches="start"),
    case(
        "8.1.1-longer-in-pieces",
        MALFORMED,
        post(1, LENGTH),
        data(1, b"test", 0),
        data(1, b"test"),
        reaches="start",
    ),
    case(
        "8.1.1-shorter",
        MALFORMED,
        post(1, (b"content-length", b"5")),
        data(1, b"test"),
        reaches="start",
    ),
    malformed("8.1.1-none", *GET, LENGTH),
    case(
        "8.1.1-shorter-by-trailers",
        MALFORMED,
        post(1, (b"content-length", b"5")),
        data(1, b"test", 0),
        headers(1, [(b"x-test", b"ok")]),
        reaches="start",
    ),
    case(
        "8.4-push-idle",
        broken(PROTOCOL_ERROR),
        frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x03" + ON),
    ),
    case(
        "8.4-push",
        broken(PROTOCOL_ERROR),
        post(),
        frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02" + ON),
        reaches="start",
    ),
]


def unreadable(name: str, extra: bytes) -> Case:
    """A request with ``extra`` behind its good fields."""
    return case(name, broken(COMPRESSION_ERROR), frame(HEADERS, WHOLE, 1, ON + extra))


LONG_PADDING = b"\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"
ZERO_PADDING = b"\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"
EOS = b"\x85\xf2\xb2\x4a\x84\xff\x85\xff\xff\xff\xfc\x1f"
EOS_WITHIN = b"\x85\xf2\xb2\x4a\x84\xff\x85\x1f\xff\xff\xff\xe3"
"""``x-test`` with values of which the Huffman code is spoilt (RFC 7541, 5.2)."""

HPACK: list[Case] = [
    unreadable("hpack-2.3.3-index", b"\xc6"),
    unreadable("hpack-2.3.3-index-of-a-name", b"\x7f\x07\x01v"),
    unreadable("hpack-4.2-size-behind", b"\x3f\x61"),
    unreadable("hpack-4.2-small-size-behind", b"\x21"),
    unreadable("hpack-5.2-long-padding", b"\x00" + LONG_PADDING),
    unreadable("hpack-5.2-zeros", b"\x00" + ZERO_PADDING),
    unreadable("hpack-5.2-eos", b"\x00" + EOS),
    unreadable("hpack-5.2-eos-within", b"\x00" + EOS_WITHIN),
    unreadable("hpack-6.1-no-index", b"\x80"),
    case(
        "hpack-6.3-one-larger",
        broken(COMPRESSION_ERROR),
        frame(HEADERS, WHOLE, 1, b"\x3f\xe2\x1f" + ON),  # 4097
    ),
    case(
        "hpack-6.3-larger",
        broken(COMPRESSION_ERROR),
        frame(HEADERS, WHOLE, 1, b"\x3f\xe1\xff\x03" + ON),
    ),
]

CASES: list[Case] = [*HEADS, *BODIES, *HPACK]
