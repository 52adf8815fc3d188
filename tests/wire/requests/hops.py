"""Fields that are for the next hop only, and offers to leave HTTP/1."""

from __future__ import annotations

from tests.wire.case import Passed, case, get

CASES = [
    case(
        "upgrade-h2c",
        get(
            b"Upgrade: h2c",
            b"Connection: Upgrade, HTTP2-Settings",
            b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        ),
        Passed(lacks=(b"upgrade", b"http2-settings")),
    ),
    case(
        "upgrade-ws-badver",
        get(
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Version: 777",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
        Passed(
            has={b"upgrade": b"websocket", b"sec-websocket-version": b"777"},
            after="either",
        ),
    ),
    case(
        "conn-strip",
        get(b"Connection: close, X-A", b"X-A: b"),
        Passed(lacks=(b"x-a",), after="closed"),
    ),
    case("conn-strip-host", get(b"Connection: Host"), Passed(has={b"host": b"a.test"})),
    case(
        "hop-te",
        get(b"TE: gzip", b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive"),
        Passed(lacks=(b"te", b"keep-alive", b"proxy-connection")),
    ),
]
