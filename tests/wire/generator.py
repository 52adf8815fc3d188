"""Requests and answers made up from a seed: good ones, then spoiled a little."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

METHODS = [b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"M-SEARCH"]
PATHS = [b"/", b"/a/b", b"/a?b=c&d", b"/%41%2e", b"/;p=1", b"/..", b"//x", b"/a?/../b"]
FIELDS = [
    b"Accept: */*",
    b"X-A: b",
    b"x-a: c, d",
    b"Cookie: a=b; c=d",
    b"Connection: keep-alive",
    b"Connection: x-a",
    b"TE: trailers",
    b"Expect: 100-continue",
    b"X-Empty:",
    b'X-Quoted: "a, b"',
    b"X-Eight: \xe9\xff",
    b"Content-Type: text/plain",
]
SPICE = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n ",
    b"\n\n",
    b"\r\n\r\n",
    b"\x00",
    b"\x0b",
    b"\x0c",
    b"\x7f",
    b"\x85",
    b"\xa0",
    b"\t",
    b" ",
    b":",
    b",",
    b";",
    b"#",
    b"%",
    b"%00",
    b"/",
    b"?",
    b"@",
    b"_",
    b"+",
    b"-",
    b"0",
    b"0x",
    b"chunked",
    b", chunked",
    b"identity",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding:\tchunked\r\n",
    b"Host: b.test\r\n",
    b"0\r\n\r\n",
]


def request(random: Random) -> bytes:
    """A good request with a body, or none, framed one way or the other."""
    line = b"%s %s HTTP/1.1" % (random.choice(METHODS), random.choice(PATHS))
    fields = [b"Host: a.test", *random.sample(FIELDS, random.randrange(4))]
    body = b""
    framing = random.randrange(3)
    if framing == 1:
        body = text(random, 30)
        fields.append(b"Content-Length: %d" % len(body))
    elif framing == 2:
        body = chunks(random)
        fields.append(b"Transfer-Encoding: chunked")
    random.shuffle(fields)
    return b"\r\n".join([line, *fields, b"", body])


STATUSES = [b"200 OK", b"200 ", b"404 Not Found", b"503 Busy", b"201 Created"]
ANSWER_FIELDS = [
    b"Server: x",
    b"X-A: b",
    b"Set-Cookie: a=b",
    b"Set-Cookie: c=d",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Connection: x-a",
    b"X-Empty:",
    b"X-Eight: \xe9\xff",
]


def answer(random: Random) -> bytes:
    """A good answer, framed in one of three ways."""
    line = b"HTTP/1.1 " + random.choice(STATUSES)
    fields = random.sample(ANSWER_FIELDS, random.randrange(4))
    framing = random.randrange(5)
    body = chunks(random) if framing > 2 else text(random, 30)
    if framing > 2:
        fields.append(b"Transfer-Encoding: chunked")
    elif framing:
        fields.append(b"Content-Length: %d" % len(body))
    random.shuffle(fields)
    return b"\r\n".join([line, *fields, b"", body])


def text(random: Random, most: int) -> bytes:
    return random.randbytes(most).hex().encode()[: random.randrange(1, most)]


def chunks(random: Random) -> bytes:
    pieces = [text(random, 20) for _ in range(random.randrange(4))]
    # No blank before the semicolon, which is allowed and which h11 does not know.
    extension = random.choice([b"", b"", b";a", b';a="b"'])
    coded = [b"%x%s\r\n%s\r\n" % (len(each), extension, each) for each in pieces]
    trailer = random.choice([b"", b"", b"X-T: y\r\n", b"Cache-Control: x\r\n"])
    return b"".join([*coded, b"0\r\n", trailer, b"\r\n"])


def spoiled(data: bytes, random: Random) -> bytes:
    """The same after up to three small accidents."""
    for _ in range(random.randrange(4)):
        data = random.choice(ACCIDENTS)(data, random)
    return data


def insert(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(SPICE) + data[at:]


def insert_line(data: bytes, random: Random) -> bytes:
    lines = data.split(b"\r\n")
    at = random.randrange(1, len(lines))
    return b"\r\n".join([*lines[:at], random.choice(SPICE).strip(), *lines[at:]])


def delete(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) or 1)
    return data[:at] + data[at + random.randrange(1, 3) :]


def replace(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) or 1)
    return data[:at] + random.randbytes(1) + data[at + 1 :]


def repeat_line(data: bytes, random: Random) -> bytes:
    lines = data.split(b"\r\n")
    at = random.randrange(len(lines))
    return b"\r\n".join([*lines[:at], lines[at], *lines[at:]])


def change_case(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) or 1)
    return data[:at] + data[at:].swapcase()


def bare_line_end(data: bytes, random: Random) -> bytes:
    parts = data.split(b"\r\n")
    at = random.randrange(len(parts))
    ending = random.choice([b"\n", b"\r", b"\r\r\n"])
    return b"\r\n".join(parts[: at + 1]) + ending + b"\r\n".join(parts[at + 1 :])


ACCIDENTS: list[Callable[[bytes, Random], bytes]] = [
    insert,
    insert,
    insert_line,
    delete,
    replace,
    repeat_line,
    change_case,
    bare_line_end,
]
