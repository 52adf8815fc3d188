"""Answers whose length is doubtful, too long or too short."""

from __future__ import annotations

from tests.wire.reply import BAD, CUT, Delivered, ok, reply


def length(value: bytes, body: bytes = b"ab") -> bytes:
    return ok(b"Content-Length: " + value, body=body)


ZERO = b"0\r\n\r\n"
AB = length(b"2")

REPLIES = [
    reply("ok", AB, Delivered(reused=True)),
    reply(
        "cl+te",
        ok(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=ZERO),
        BAD,
    ),
    reply(
        "te+cl",
        ok(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=ZERO),
        BAD,
    ),
    reply(
        "cl-dup-same",
        ok(b"Content-Length: 2", b"Content-Length: 2", body=b"ab"),
        BAD,
    ),
    reply(
        "cl-dup-diff",
        ok(b"Content-Length: 2", b"Content-Length: 3", body=b"abc"),
        BAD,
    ),
    reply("cl-list-same", length(b"2, 2"), BAD),
    reply("cl-list-diff", length(b"2, 3", b"abc"), BAD),
    reply("cl-plus", length(b"+2"), BAD),
    reply("cl-minus", length(b"-2"), BAD),
    reply("cl-hex", length(b"0x2"), BAD),
    reply("cl-underscore", length(b"1_0", b"0123456789"), BAD),
    reply("cl-empty", length(b"", b""), BAD),
    reply("cl-trail-junk", length(b"2x"), BAD),
    reply("cl-huge", length(b"99999999999999999999999"), BAD),
    reply("cl-space-inside", length(b"1 0", b"0123456789"), BAD),
    reply("cl-space-colon", ok(b"Content-Length : 2", body=b"ab"), BAD),
    reply(
        "cl-leading0",
        length(b"002"),
        BAD,
        Delivered(has={b"content-length": b"2"}, reused=None),
    ),
    reply("extra-byte", AB + b"c", Delivered()),
    reply("extra-answer", AB + AB, Delivered()),
    reply("extra-late", [AB, b"HTTP/1.1 200 OK\r\n"], Delivered()),
    reply("extra-after-empty", length(b"0", b"") + b"ab", Delivered(body=b"")),
    reply("end-at-once", b"", BAD, then="end", fresh_only=True),
    reply("reset-at-once", b"", BAD, then="reset", fresh_only=True),
    reply("end-in-line", b"HTTP/1.1 20", BAD, then="end"),
    reply("end-in-head", b"HTTP/1.1 200 OK\r\nX-A: b\r\n", BAD, then="end"),
    reply("reset-in-head", b"HTTP/1.1 200 OK\r\nX-A: b\r\n", BAD, then="reset"),
    reply("end-after-head", length(b"5", b""), BAD, CUT, then="end"),
    reply("end-in-body", length(b"5"), BAD, CUT, then="end"),
    reply("reset-in-body", length(b"5"), BAD, CUT, then="reset"),
    reply("until-end", ok(body=b"ab"), Delivered(), then="end"),
    reply("until-end-empty", ok(), Delivered(body=b""), then="end"),
    reply("until-end-1.0", b"HTTP/1.0 200 OK\r\n\r\nab", Delivered(), then="end"),
    reply("until-reset", [ok(), b"ab"], BAD, CUT, then="reset"),
]
