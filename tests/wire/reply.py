"""What a case of a bad origin is: the bytes it sends, and what a client must get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from tests.wire.case import head, post
from tests.wire.origin import Ending, Script


@attrs.frozen
class Delivered:
    """The client gets a whole and canonical answer."""

    body: bytes = b"ab"
    status: int = 200
    has: Mapping[bytes, bytes] = attrs.field(factory=dict)
    lacks: tuple[bytes, ...] = ()
    reused: bool | None = False
    """Whether the next request goes out on the same connection; None is either."""


@attrs.frozen
class BadGateway:
    """The client gets 502 and the reason; the origin's connection is closed."""


@attrs.frozen
class Cut:
    """The head went out, and the client can tell that the rest did not."""

    status: int = 200


@attrs.frozen
class Reply:
    """What the origin sends to one request, and what will do as the outcome."""

    name: str
    script: Script
    wants: tuple[Delivered | BadGateway | Cut, ...]
    request: bytes
    fresh_only: bool = False
    """Left out on a pooled connection, where the proxy may rightly try again."""

    @property
    def asked(self) -> bytes:
        return self.request.partition(b" ")[0]


BAD = BadGateway()
CUT = Cut()
ASK = post(b"Content-Length: 2", body=b"ab")
"""Not safe to send twice: no retry hides what the origin did."""


def reply(
    name: str,
    data: bytes | Sequence[bytes],
    *wants: Delivered | BadGateway | Cut,
    then: Ending = "stay",
    request: bytes = ASK,
    fresh_only: bool = False,
) -> Reply:
    return Reply(name, Script(data, then), wants, request, fresh_only)


def ok(*fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *fields, b"", b""]) + body


def started(line: bytes, body: bytes = b"ab") -> bytes:
    """A good answer but for its status line."""
    return line + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def with_field(field: bytes) -> bytes:
    """A good answer with one field more."""
    return ok(field, b"Content-Length: 2", body=b"ab")


def chunks(body: bytes) -> bytes:
    return ok(b"Transfer-Encoding: chunked", body=body)


def asked(method: bytes, *fields: bytes) -> bytes:
    return head(method + b" / HTTP/1.1", *fields)
