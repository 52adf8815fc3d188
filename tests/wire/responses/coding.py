"""Answers in chunks, and codings that are not chunked."""

from __future__ import annotations

from tests.wire.reply import BAD, CUT, Delivered, chunks, ok, reply

ZERO = b"0\r\n\r\n"
REST = b"\r\nab\r\n0\r\n\r\n"
MANY = b"".join(b"X-%d: y\r\n" % number for number in range(1000))


def coding(field: bytes) -> bytes:
    return ok(field, body=ZERO)


REPLIES = [
    reply("chunks-ok", chunks(b"2" + REST), Delivered(reused=True)),
    reply("chunk-ext-ok", chunks(b"2;a=b" + REST), Delivered(reused=True)),
    reply(
        "te-case",
        ok(b"Transfer-Encoding: CHUNKED", body=b"2" + REST),
        Delivered(reused=True),
    ),
    reply(
        "te-dup",
        ok(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=ZERO),
        BAD,
    ),
    reply("te-comma-lead", coding(b"Transfer-Encoding: ,chunked"), BAD),
    reply("te-chunked-chunked", coding(b"Transfer-Encoding: chunked, chunked"), BAD),
    reply(
        "te-identity",
        ok(b"Transfer-Encoding: identity", b"Content-Length: 2", body=b"ab"),
        BAD,
    ),
    reply("te-chunked-identity", coding(b"Transfer-Encoding: chunked, identity"), BAD),
    reply("te-gzip-chunked", coding(b"Transfer-Encoding: gzip, chunked"), BAD),
    reply("te-xchunked", coding(b"Transfer-Encoding: xchunked"), BAD),
    reply("te-quoted", coding(b'Transfer-Encoding: "chunked"'), BAD),
    reply("te-vtab", coding(b"Transfer-Encoding: \x0bchunked"), BAD),
    reply("te-nbsp", coding(b"Transfer-Encoding: \xa0chunked"), BAD),
    reply("te-empty", coding(b"Transfer-Encoding: "), BAD),
    reply("te-obsfold", coding(b"Transfer-Encoding:\r\n chunked"), BAD),
    reply("te-space-colon", coding(b"Transfer-Encoding : chunked"), BAD),
    reply(
        "te-http10",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + ZERO,
        BAD,
    ),
    reply("chunk-0x", chunks(b"0x2" + REST), BAD, CUT),
    reply("chunk-plus", chunks(b"+2" + REST), BAD, CUT),
    reply("chunk-minus", chunks(b"-2" + REST), BAD, CUT),
    reply("chunk-underscore", chunks(b"0_2" + REST), BAD, CUT),
    reply("chunk-empty", chunks(b"" + REST), BAD, CUT),
    reply("chunk-lead-sp", chunks(b" 2" + REST), BAD, CUT),
    reply("chunk-trail-sp", chunks(b"2 " + REST), BAD, CUT, Delivered(reused=None)),
    reply("chunk-overflow", chunks(b"FFFFFFFFFFFFFFFFF" + REST), BAD, CUT),
    reply("chunk-ext-lf", chunks(b"2;\nxx" + REST), BAD, CUT),
    reply("chunk-ext-cr", chunks(b"2;a\rb" + REST), BAD, CUT),
    reply("chunk-ext-16k", chunks(b"2;" + b"a" * 16384 + REST), BAD, CUT),
    reply("chunk-lf-term", chunks(b"2\nab\n0\n\n"), BAD, CUT),
    reply("chunk-no-crlf", chunks(b"2\r\nabX0\r\n\r\n"), BAD, CUT),
    reply("chunk-data-long", chunks(b"2\r\nabXX0\r\n\r\n"), BAD, CUT),
    reply("chunk-late-bad", [chunks(b"2\r\nab\r\n"), b"x\r\n"], BAD, CUT),
    reply("end-in-size", chunks(b"2\r\nab\r\n1"), BAD, CUT, then="end"),
    reply("end-in-chunk", chunks(b"5\r\nab"), BAD, CUT, then="end"),
    reply("end-between-chunks", chunks(b"2\r\nab\r\n"), BAD, CUT, then="end"),
    reply("end-in-zero", chunks(b"2\r\nab\r\n0\r\n"), BAD, CUT, then="end"),
    reply("end-in-trailer", chunks(b"2\r\nab\r\n0\r\nX"), BAD, CUT, then="end"),
    reply("reset-in-chunk", chunks(b"5\r\nab"), BAD, CUT, then="reset"),
    reply("extra-after-chunks", chunks(b"2" + REST + b"c"), Delivered()),
    reply(
        "trailer-cl",
        chunks(b"2\r\nab\r\n0\r\nContent-Length: 9\r\n\r\n"),
        BAD,
        CUT,
        Delivered(lacks=(b"content-length",), reused=None),
    ),
    reply("trailer-bad", chunks(b"2\r\nab\r\n0\r\nX\x00: 9\r\n\r\n"), BAD, CUT),
    reply("trailer-1000", chunks(b"2\r\nab\r\n0\r\n" + MANY + b"\r\n"), BAD, CUT),
]
