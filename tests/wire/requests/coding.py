"""Requests whose Transfer-Encoding is not the plain word, or spelled to be missed."""

from __future__ import annotations

from tests.wire.case import Passed, case, closed, head, post, refused

ZERO = b"0\r\n\r\n"


def coding(field: bytes, body: bytes = ZERO) -> bytes:
    return post(field, body=body)


CASES = [
    case(
        "te-dup",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=ZERO),
        closed(501, 400),
    ),
    case("te-comma-lead", coding(b"Transfer-Encoding: ,chunked"), closed(501, 400)),
    case(
        "te-chunked-chunked",
        coding(b"Transfer-Encoding: chunked, chunked"),
        closed(501, 400),
    ),
    case(
        "te-identity",
        post(b"Transfer-Encoding: identity", b"Content-Length: 2", body=b"ab"),
        closed(501, 400),
    ),
    case(
        "te-chunked-identity",
        coding(b"Transfer-Encoding: chunked, identity"),
        closed(501, 400),
    ),
    case(
        "te-gzip-chunked", coding(b"Transfer-Encoding: gzip, chunked"), closed(501, 400)
    ),
    case("te-xchunked", coding(b"Transfer-Encoding: xchunked"), closed(501, 400)),
    case("te-quoted", coding(b'Transfer-Encoding: "chunked"'), closed(501, 400)),
    case("te-vtab", coding(b"Transfer-Encoding: \x0bchunked"), closed(400)),
    case("te-nbsp", coding(b"Transfer-Encoding: \xa0chunked"), closed(400)),
    case("te-case", coding(b"Transfer-Encoding: CHUNKED"), Passed()),
    case("te-obsfold", coding(b"Transfer-Encoding:\r\n chunked"), refused(400)),
    case(
        "te-http10",
        head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked") + ZERO,
        closed(400),
    ),
    case("te-space-colon", coding(b"Transfer-Encoding : chunked"), refused(400)),
    case("te-tab-colon", coding(b"Transfer-Encoding\t: chunked"), refused(400)),
    case(
        "te-underscore",
        post(b"Transfer_Encoding: chunked", b"Content-Length: 5", body=ZERO),
        Passed(has={b"content-length": b"5"}, lacks=(b"transfer_encoding",), body=ZERO),
        refused(400),
    ),
]
