"""Field lines of answers."""

from __future__ import annotations

from tests.wire.reply import BAD, Delivered, ok, reply, with_field

FIELDS = [b"X-%d: y" % number for number in range(1000)]

REPLIES = [
    reply("obs-fold", with_field(b"X-A: b\r\n c"), BAD),
    reply("obs-fold-first", with_field(b" X-A: b"), BAD),
    reply("bare-lf-hdr", with_field(b"X-A: b\nX-B: c"), BAD),
    reply("bare-lf-all", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab", BAD),
    reply("bare-cr-hdr", with_field(b"X-A: b\rX-B: c"), BAD),
    reply("nul-value", with_field(b"X-A: b\x00c"), BAD),
    reply("nul-name", with_field(b"X\x00A: b"), BAD),
    reply("ctl-value", with_field(b"X-A: b\x01c"), BAD),
    reply("hi-name", with_field(b"X\xefA: b"), BAD),
    reply("empty-name", with_field(b": b"), BAD),
    reply("no-colon", with_field(b"X-A b"), BAD),
    reply("space-in-name", with_field(b"X A: b"), BAD),
    reply("space-colon", with_field(b"X-A : b"), BAD),
    reply("fields-1000", ok(*FIELDS, b"Content-Length: 2", body=b"ab"), BAD),
    reply("value-64k", with_field(b"X-A: " + b"a" * 65536), BAD),
    reply("value-1m", with_field(b"X-A: " + b"a" * 1048576), BAD),
    reply("value-endless", b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 1048576, BAD),
    reply(
        "value-8bit",
        with_field(b"X-A: \xe9"),
        Delivered(has={b"x-a": b"\xe9"}, reused=True),
    ),
    reply(
        "hop-by-hop",
        ok(
            b"Connection: X-A, keep-alive",
            b"X-A: b",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: keep-alive",
            b"X-B: c",
            b"Content-Length: 2",
            body=b"ab",
        ),
        Delivered(
            has={b"x-b": b"c"},
            lacks=(b"x-a", b"keep-alive", b"proxy-connection"),
            reused=True,
        ),
    ),
    reply("says-close", with_field(b"Connection: close"), Delivered()),
]
