"""What an origin does wrongly that costs its connection (RFC 9113, 3 to 6)."""

from __future__ import annotations

from collections.abc import Iterator

from tests.wire.mistakes.case import STATUS, Case, case, head
from tests.wire.raw import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    UNKNOWN,
    WHOLE,
    WINDOW_UPDATE,
    block,
    data,
    frame,
    goaway,
    headers,
    ping,
    priority,
    reset,
    settings,
    window_update,
)

ENOUGH = 20_000
"""Pieces; an origin that is not cut by then has won."""

BLOCK = block([STATUS])
PUSH, WINDOW, FRAME = 0x2, 0x4, 0x5


def greets(name: str, greeting: bytes) -> Case:
    """Nothing was sent to such an origin, so another connection is tried first."""
    return case(name, b"", greeting=greeting, lasts=True)


GREETINGS: list[Case] = [
    greets("http1", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    greets("settings-late", ping() + settings()),
    greets("settings-of-one", settings(stream=1)),
    greets("settings-length", frame(SETTINGS, 0, 0, b"\0" * 3)),
    greets(
        "settings-ack-of-something", settings() + frame(SETTINGS, ACK, 0, b"\0" * 6)
    ),
    greets("settings-push", settings((PUSH, 1))),
    greets("settings-window", settings((WINDOW, 2**31))),
    greets("settings-small-frame", settings((FRAME, 16_383))),
    greets("settings-large-frame", settings((FRAME, 2**24))),
    greets("settings-without-end", settings(*[(0xF0, 1)] * 100)),
    case("silent", b"", greeting=b"", is_deaf=True, lasts=True),
    case("silent-later", b"", is_deaf=True),
    case("ends", b"", then="end"),
]


def then_too_much(kind: int, size: int = LARGEST_FRAME + 1) -> bytes:
    return frame(kind, 0, 1, b"\0" * size)


def too_large_a_head(stream: int) -> bytes:
    """One that no library decodes to its end."""
    return headers(stream, [STATUS, *((b"x-%d" % n, b"y") for n in range(1001))])


FRAMES: list[Case] = [
    case("data-of-all", data(0)),
    case("headers-of-all", head(0)),
    case("priority-of-all", frame(PRIORITY, 0, 0, priority(1))),
    case("reset-of-all", reset(0)),
    case("continuation-of-all", frame(CONTINUATION, END_HEADERS, 0, BLOCK)),
    case("reset-length", lambda s: frame(RST_STREAM, 0, s, b"\0" * 3)),
    case("window-update-length", frame(WINDOW_UPDATE, 0, 0, b"\0" * 3)),
    case("window-update-of-nothing", window_update(0, 0)),
    case("window-overflow", window_update(0, LARGEST_WINDOW) * 2),
    case("ping-length", frame(PING, 0, 0, b"\0" * 6)),
    case("ping-of-one", ping(stream=1)),
    case("goaway-of-one", goaway(1, stream=1)),
    case("goaway-length", frame(GOAWAY, 0, 0, b"\0" * 7)),
    case("large-data", lambda s: head(s) + then_too_much(DATA), "bad", "cut"),
    case("large-headers", then_too_much(HEADERS)),
    case("large-unknown", then_too_much(UNKNOWN)),
    case("large-ping", then_too_much(PING)),
    case("large-head", too_large_a_head),
    case("large-head-and-settings", lambda s: settings() + too_large_a_head(s)),
    case(
        "data-padding",
        lambda s: head(s) + data(s, b"\x06abcd", PADDED | END_STREAM),
        "bad",
        "cut",
    ),
    case(
        "headers-padding", lambda s: frame(HEADERS, WHOLE | PADDED, s, b"\xff" + BLOCK)
    ),
    case("garbage", b"\xff" * 100),
    case("http1-later", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab" * 4),
]

STREAMS: list[Case] = [
    case("idle-data", lambda s: data(s + 2)),
    case("idle-headers", lambda s: head(s + 2)),
    case("idle-reset", lambda s: reset(s + 2)),
    case("idle-window-update", lambda s: window_update(s + 2, 1)),
    case("even-headers", head(2)),
    case("even-data", data(2)),
    case(
        "push",
        lambda s: frame(PUSH_PROMISE, END_HEADERS, s, b"\0\0\0\x02" + BLOCK),
    ),
    case("push-of-all", frame(PUSH_PROMISE, END_HEADERS, 0, b"\0\0\0\x02" + BLOCK)),
    case(
        "closed-data",
        lambda s: head(s) + data(s, b"good") + data(s, b"more"),
        "good",
        "bad",
        "cut",
    ),
    case(
        "closed-headers",
        lambda s: head(s) + data(s, b"good") + head(s),
        "good",
        "bad",
        "cut",
    ),
    case(
        "reset-data",
        lambda s: head(s) + reset(s) + data(s, b"more"),
        "bad",
        "cut",
    ),
]


def unreadable(name: str, block: bytes) -> Case:
    return case(f"hpack-{name}", lambda s: frame(HEADERS, WHOLE, s, block))


BLOCKS: list[Case] = [
    case("continuation-alone", lambda s: frame(CONTINUATION, END_HEADERS, s, BLOCK)),
    case(
        "continuation-behind-the-head",
        lambda s: head(s) + frame(CONTINUATION, END_HEADERS, s, BLOCK),
        "bad",
        "cut",
    ),
    case("ping-within", lambda s: frame(HEADERS, 0, s, BLOCK) + ping()),
    case("data-within", lambda s: frame(HEADERS, 0, s, BLOCK) + data(s)),
    case("headers-within", lambda s: frame(HEADERS, 0, s, BLOCK) + head(s)),
    case(
        "continuation-of-another",
        lambda s: (
            frame(HEADERS, 0, s, BLOCK) + frame(CONTINUATION, END_HEADERS, s + 2, BLOCK)
        ),
    ),
    *(
        unreadable(name, extra)
        for name, extra in {
            "index": b"\x88\xff\xff\x7f",
            "no-index": b"\x88\x80",
            "truncated": b"\x88\x00\x0atrunc",
            "table": b"\x3f\xe1\xff\x03\x88",
            "table-behind": b"\x88\x20",
            "eos": b"\x88\x00\x01x\x85\xff\xff\xff\xfc\x1f",
            "padding": b"\x88\x00\x01x\x82\xff\xff",
        }.items()
    ),
]


def endless(piece: bytes) -> Iterator[bytes]:
    """The same again and again, so many in a segment that it goes fast."""
    for _ in range(ENOUGH // 100):
        yield piece * 100


def continued(stream: int) -> Iterator[bytes]:
    yield frame(HEADERS, 0, stream, BLOCK)
    yield from endless(frame(CONTINUATION, 0, stream, block([(b"x", b"y")])))


def poured(stream: int) -> Iterator[bytes]:
    """A body that heeds no window."""
    yield head(stream)
    for _ in range(4096):
        yield data(stream, b"x" * LARGEST_FRAME, 0)


def emptied(stream: int) -> Iterator[bytes]:
    yield head(stream)
    yield from endless(data(stream, b"", 0))


FLOODS: list[Case] = [
    case("flood-continuation", continued),
    case("flood-ping", lambda s: endless(ping())),
    case("flood-settings", lambda s: endless(settings())),
    case("flood-empty-data", emptied, "bad", "cut"),
    case("flood-priority", lambda s: endless(frame(PRIORITY, 0, s, priority(0)))),
    case("flood-window-update", lambda s: endless(window_update(0, 1))),
    case(
        "flood-informational",
        # Not endless: of 10,000 libnghttp2 would have enough, whatever goes on beside.
        lambda s: headers(s, [(b":status", b"103")], END_HEADERS) * 1000,
        costs="stream",
    ),
    case(
        "flood-fields",
        lambda s: frame(
            HEADERS,
            WHOLE,
            s,
            b"\x88\x40\x01x\x7f\xb9\x16" + b"b" * 2999 + b"\xbe" * 9000,
        ),
    ),
    case("flood-data", poured, "bad", "cut", reads_late=True),
]

CASES: list[Case] = [*GREETINGS, *FRAMES, *STREAMS, *BLOCKS, *FLOODS]
