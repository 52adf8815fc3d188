"""Chunked bodies: sizes, extensions, terminators and trailers."""

from __future__ import annotations

from tests.wire.case import Passed, Refused, aborted, case, chunked

AB = Passed(body=b"ab")
REST = b"\r\nab\r\n0\r\n\r\n"
"""What follows the first chunk's size line."""

CASES = [
    case("ok-chunked", chunked(b"2" + REST), AB),
    case("chunk-0x", chunked(b"0x2" + REST), aborted(400)),
    case("chunk-plus", chunked(b"+2" + REST), aborted(400)),
    case("chunk-minus", chunked(b"-2" + REST), aborted(400)),
    case("chunk-underscore", chunked(b"0_2" + REST), aborted(400)),
    case("chunk-empty", chunked(b"" + REST), aborted(400)),
    case("chunk-lead-sp", chunked(b" 2" + REST), aborted(400)),
    case(
        "chunk-trail-sp",
        chunked(b"2 " + REST),
        Refused((400,), begun=True),
        AB,
    ),
    case("chunk-overflow", chunked(b"FFFFFFFFFFFFFFFFF" + REST), aborted(400)),
    case("chunk-ext-ok", chunked(b"2;a=b" + REST), AB),
    case("chunk-ext-lf", chunked(b"2;\nxx" + REST), aborted(400)),
    case("chunk-ext-cr", chunked(b"2;a\rb" + REST), aborted(400)),
    case("chunk-ext-16k", chunked(b"2;" + b"a" * 16384 + REST), aborted(400)),
    case("chunk-lf-term", chunked(b"2\nab\n0\n\n"), aborted(400)),
    case("chunk-no-crlf", chunked(b"2\r\nabX0\r\n\r\n"), aborted(400)),
    case("chunk-data-long", chunked(b"2\r\nabXX0\r\n\r\n"), aborted(400)),
    case(
        "trailer-cl",
        chunked(b"2\r\nab\r\n0\r\nContent-Length: 9\r\n\r\n"),
        Passed(lacks=(b"content-length",), body=b"ab"),
    ),
    case(
        "trailer-bad",
        chunked(b"2\r\nab\r\n0\r\nX\x00: 9\r\n\r\n"),
        Refused((400,), begun=True),
    ),
]
