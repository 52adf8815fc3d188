"""Status lines, and what stands where one should."""

from __future__ import annotations

from tests.wire.reply import BAD, Delivered, reply, started

REPLIES = [
    reply("garbage", b"hello\r\n\r\n", BAD),
    reply("http-0.9", b"<html>hello</html>", BAD, then="end"),
    reply("lead-crlf", b"\r\n" + started(b"HTTP/1.1 200 OK"), BAD),
    reply("no-code", started(b"HTTP/1.1 OK"), BAD),
    reply("code-2-digits", started(b"HTTP/1.1 20 OK"), BAD),
    reply("code-4-digits", started(b"HTTP/1.1 2000 OK"), BAD),
    reply("code-099", started(b"HTTP/1.1 099 Low"), BAD),
    reply("code-000", started(b"HTTP/1.1 000 None"), BAD),
    reply("code-minus", started(b"HTTP/1.1 -20 OK"), BAD),
    reply("code-letter", started(b"HTTP/1.1 2x0 OK"), BAD),
    reply("code-plus", started(b"HTTP/1.1 +200 OK"), BAD),
    reply(
        "code-600",
        started(b"HTTP/1.1 600 High"),
        BAD,
        Delivered(status=600, reused=None),
    ),
    reply("line-2sp", started(b"HTTP/1.1  200 OK"), BAD),
    reply("line-tab", started(b"HTTP/1.1\t200 OK"), BAD),
    reply("line-bare-lf", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nab", BAD),
    reply("line-bare-cr", started(b"HTTP/1.1 200 O\rK"), BAD),
    reply("reason-nul", started(b"HTTP/1.1 200 O\x00K"), BAD),
    reply("reason-ctl", started(b"HTTP/1.1 200 O\x01K"), BAD),
    reply("reason-none", started(b"HTTP/1.1 200 "), Delivered(reused=True)),
    reply("ver-2.0", started(b"HTTP/2.0 200 OK"), BAD),
    reply("ver-3.7", started(b"HTTP/3.7 200 OK"), BAD),
    reply("ver-1.32", started(b"HTTP/1.32 200 OK"), BAD),
    reply("ver-0.9", started(b"HTTP/0.9 200 OK"), BAD),
    reply("ver-lower", started(b"http/1.1 200 OK"), BAD),
    reply("ver-rtsp", started(b"RTSP/1.1 200 OK"), BAD),
    reply("ver-icy", started(b"ICY 200 OK"), BAD),
    reply("a-request", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", BAD),
    reply("tls-alert", b"\x15\x03\x01\x00\x02\x02\x0a", BAD, then="end"),
    reply("h2-settings", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", BAD, then="end"),
    reply("http-1.0", started(b"HTTP/1.0 200 OK"), Delivered()),
    reply("line-64k", started(b"HTTP/1.1 200 " + b"a" * 65536), BAD),
    reply("line-endless", b"HTTP/1.1 200 " + b"a" * 1048576, BAD),
]
