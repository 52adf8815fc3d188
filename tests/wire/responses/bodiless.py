"""Answers that have no body by definition, and switches nobody asked for."""

from __future__ import annotations

from tests.wire.case import get
from tests.wire.reply import BAD, Delivered, asked, ok, reply

HEAD = asked(b"HEAD")
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
AB = ok(b"Content-Length: 2", body=b"ab")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
EMPTY = Delivered(body=b"")


def status(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + line, *fields, b"", b""]) + body


REPLIES = [
    reply(
        "head-ok",
        ok(b"Content-Length: 2"),
        Delivered(body=b"", has={b"content-length": b"2"}, reused=True),
        request=HEAD,
    ),
    reply("head-body", AB, EMPTY, request=HEAD),
    reply(
        "head-chunks",
        ok(b"Transfer-Encoding: chunked", body=b"2\r\nab\r\n0\r\n\r\n"),
        EMPTY,
        request=HEAD,
    ),
    reply(
        "head-cl+te",
        ok(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        BAD,
        request=HEAD,
    ),
    reply(
        "204-body", status(b"204 No", body=b"ab"), BAD, Delivered(body=b"", status=204)
    ),
    reply(
        "204-cl",
        status(b"204 No", b"Content-Length: 2", body=b"ab"),
        BAD,
        Delivered(body=b"", status=204, lacks=(b"content-length",)),
    ),
    reply(
        "204-te",
        status(b"204 No", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        BAD,
        Delivered(body=b"", status=204, lacks=(b"transfer-encoding",)),
    ),
    reply(
        "304-cl",
        status(b"304 Not Modified", b"Content-Length: 2"),
        Delivered(body=b"", status=304, reused=True),
        request=get(),
    ),
    reply(
        "304-body",
        status(b"304 Not Modified", b"Content-Length: 2", body=b"ab"),
        Delivered(body=b"", status=304),
        request=get(),
    ),
    reply("103-passes", HINT + AB, Delivered(reused=True)),
    reply("100-unasked", status(b"100 Continue") + AB, Delivered(reused=True)),
    reply("1xx-body", status(b"103 Hints", b"Content-Length: 2", body=b"ab") + AB, BAD),
    reply("1xx-alone", HINT, BAD, then="end"),
    reply("1xx-flood", HINT * 1000 + AB, BAD),
    reply("1xx-endless", HINT * 20_000, BAD),
    reply("101-unasked", SWITCH + b"websocket\r\n\r\n", BAD),
    reply("101-bare", status(b"101 Switching Protocols"), BAD),
    reply(
        "101-other",
        SWITCH + b"h2c\r\n\r\n",
        BAD,
        request=get(b"Connection: Upgrade", b"Upgrade: websocket"),
    ),
    reply(
        "101-after-200",
        AB + SWITCH + b"websocket\r\n\r\n",
        Delivered(),
    ),
]
