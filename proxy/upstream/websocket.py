"""A WebSocket's opening handshake, between its HTTP/1.1 and its HTTP/2 form (RFC 8441).

Filters see the one of HTTP/1.1: GET with an Upgrade, answered by 101.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1

from meshfilters.message import Headers, Request

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""


def is_websocket(request: Request) -> bool:
    """Whether it asks for a WebSocket."""
    offered = request.headers.index.get(b"upgrade")
    return (
        offered is not None
        and offered.lower() == b"websocket"
        and request.method == b"GET"
    )


def as_extended_connect(headers: Headers) -> Headers:
    """The fields of an extended CONNECT: the key is for HTTP/1.1 alone (RFC 8441, 5)."""
    headers = headers.copy()
    headers.remove(b"upgrade", b"connection", b"sec-websocket-key")
    return headers


def accept_of(headers: Headers) -> bytes:
    """What a 101 answers to the key of the request's ``headers`` (RFC 6455, 4.2.2)."""
    key = headers.index.get(b"sec-websocket-key", b"")
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
