"""Requests whose Content-Length is doubtful, alone or beside a Transfer-Encoding."""

from __future__ import annotations

from tests.wire.case import Passed, Refused, case, closed, get, head, post, refused

ZERO = b"0\r\n\r\n"


def length(value: bytes, body: bytes = b"ab") -> bytes:
    return post(b"Content-Length: " + value, body=body)


CASES = [
    case("ok-get", get(), Passed()),
    case(
        "cl+te",
        post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=ZERO),
        closed(400),
    ),
    case(
        "te+cl",
        post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=ZERO),
        closed(400),
    ),
    case(
        "cl-dup-same",
        post(b"Content-Length: 2", b"Content-Length: 2", body=b"ab"),
        closed(400),
    ),
    case(
        "cl-dup-diff",
        post(b"Content-Length: 2", b"Content-Length: 3", body=b"abc"),
        closed(400),
    ),
    case("cl-list-same", length(b"2, 2"), closed(400)),
    case("cl-list-diff", length(b"2, 3", b"abc"), closed(400)),
    case("cl-plus", length(b"+2"), closed(400)),
    case("cl-minus", length(b"-2"), closed(400)),
    case("cl-hex", length(b"0x2"), closed(400)),
    case("cl-underscore", length(b"1_0", b"0123456789"), closed(400)),
    case("cl-empty", length(b"", b""), closed(400)),
    case("cl-trail-junk", length(b"2x"), closed(400)),
    case("cl-huge", length(b"99999999999999999999999"), closed(400)),
    case(
        "cl-leading0",
        length(b"002"),
        Passed(has={b"content-length": b"2"}, body=b"ab"),
    ),
    case("cl-space-inside", length(b"1 0", b"0123456789"), closed(400)),
    case("cl-space-colon", post(b"Content-Length : 2", body=b"ab"), refused(400)),
    case(
        "get-body-cl",
        get(b"Content-Length: 2") + b"ab",
        Passed(has={b"content-length": b"2"}, body=b"ab"),
    ),
    case(
        "head-body-10",
        head(b"HEAD / HTTP/1.0", b"Content-Length: 2") + b"ab",
        Refused((400, 413)),
    ),
    case(
        "expect-bad",
        post(b"Expect: 200-ok", b"Content-Length: 2", body=b"ab"),
        refused(417),
    ),
]
