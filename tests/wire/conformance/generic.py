"""What any server must do well: requests, and every frame as it should be."""

from __future__ import annotations

from hyperframe.frame import Frame

from tests.wire.conformance.case import (
    PAYLOAD,
    Answered,
    Case,
    Ignored,
    answered,
    case,
    get,
    post,
)
from tests.wire.frames import GET, Frames
from tests.wire.raw import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PRIORITISED,
    PRIORITY,
    SETTINGS,
    WHOLE,
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

OK = Answered()
HEAD = block(((b":method", b"HEAD"), *GET[1:]))
ON = block(GET)
ALL = ((1, 4096), (2, 1), (3, 100), (4, 65_535), (5, 16_384), (6, 100))
"""Each setting that RFC 9113 defines, with a value that it may have."""


def settles(client: Frames) -> None:
    """The server's settings come first, and ours are acknowledged."""
    client.wait(lambda: len(client.received) >= 2 and is_settled(client))
    assert client.received[0].type == SETTINGS, client.received


def is_settled(client: Frames) -> bool:
    return any(map(is_settling, client.received))


def is_settling(each: Frame) -> bool:
    return each.type == SETTINGS and "ACK" in each.flags


def settles_twice(client: Frames) -> None:
    """The settings behind those of the preface are acknowledged, too."""
    client.wait(lambda: sum(map(is_settling, client.received)) == 2)


STARTING: list[Case] = [case("start", Ignored(), settles)]

STREAMS: list[Case] = [
    case("idle-priority", OK, frame(PRIORITY, 0, 1, priority(0)), get()),
    case("half-closed-window-update", OK, get(), window_update(1, 1)),
    case("half-closed-priority", OK, get(), frame(PRIORITY, 0, 1, priority(0))),
    case("half-closed-reset", Ignored(), get(), reset(1), reaches="whole"),
    case(
        "closed-priority",
        Ignored(),
        get(),
        answered(),
        frame(PRIORITY, 0, 1, priority(0)),
    ),
]

FRAMES: list[Case] = [
    case("data", OK, post(), data(1)),
    case("data-twice", OK, post(), data(1, flags=0), data(1)),
    case(
        "data-padded", OK, post(), data(1, b"\x05body" + b"\0" * 5, PADDED | END_STREAM)
    ),
    case("headers", OK, get()),
    case(
        "headers-padded",
        OK,
        frame(HEADERS, WHOLE | PADDED, 1, b"\x05" + ON + b"\0" * 5),
    ),
    case(
        "headers-prioritised",
        OK,
        frame(HEADERS, WHOLE | PRIORITISED, 1, priority(0, 255) + ON),
    ),
    case("priority-1", OK, frame(PRIORITY, 0, 1, priority(0, 0)), get()),
    case("priority-256", OK, frame(PRIORITY, 0, 1, priority(0, 255)), get()),
    case("priority-depends", OK, frame(PRIORITY, 0, 1, priority(3)), get()),
    case("priority-exclusive", OK, frame(PRIORITY, 0, 1, priority(3 | 1 << 31)), get()),
    case("priority-above", OK, frame(PRIORITY, 0, 5, priority(0)), get()),
    case("reset", Ignored(), post(), reset(1), reaches="start"),
    case("settings", Ignored(), settings((3, 100)), settles_twice),
    case("settings-all", Ignored(), settings(*ALL), settles_twice),
    case("ping", Ignored(), ping(PAYLOAD)),
    case("goaway", OK, get(), goaway()),
    case(
        "goaway-told",
        Ignored(may_end=True),
        frame(GOAWAY, 0, 0, b"\0" * 8 + b"for no reason"),
    ),
    case("window-update-of-all", OK, window_update(0, 1), get()),
    case("window-update-of-one", OK, post(), window_update(1, 1), data(1)),
    case(
        "continuation",
        OK,
        frame(HEADERS, END_STREAM, 1, ON),
        frame(CONTINUATION, END_HEADERS, 1, block([(b"x-dummy", b"1")])),
    ),
    case(
        "continuation-twice",
        OK,
        frame(HEADERS, END_STREAM, 1, ON),
        frame(CONTINUATION, 0, 1, block([(b"x-dummy", b"1")])),
        frame(CONTINUATION, END_HEADERS, 1, block([(b"x-dummier", b"2")])),
    ),
    case(
        "continuation-within-fields",
        OK,
        frame(HEADERS, END_STREAM, 1, ON[:5]),
        frame(CONTINUATION, 0, 1, ON[5:10]),
        frame(CONTINUATION, END_HEADERS, 1, ON[10:]),
    ),
]

MESSAGES: list[Case] = [
    case("get", OK, get()),
    case("head", OK, frame(HEADERS, WHOLE, 1, HEAD)),
    case("post", OK, post(), data(1, b"body")),
    case(
        "post-with-trailers",
        OK,
        post(1, (b"trailer", b"x-sum")),
        data(1, b"body", 0),
        headers(1, [(b"x-sum", b"1")]),
    ),
]

NAMED = b"\x08pass-age"
HUFFMAN_NAME, HUFFMAN_VALUE = (
    b"\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f",
    b"\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
)
"""``custom-key`` and ``custom-value`` (RFC 7541, C.6)."""
VALUE = b"\x01v"

FIELDS = {
    "indexed": b"\x90",
    "indexing-known": b"\x5d" + VALUE,
    "indexing-known-huffman": b"\x5d" + HUFFMAN_VALUE,
    "indexing-new": b"\x40" + NAMED + VALUE,
    "indexing-new-huffman": b"\x40" + HUFFMAN_NAME + HUFFMAN_VALUE,
    "no-indexing-known": b"\x0f\x0e" + VALUE,
    "no-indexing-known-huffman": b"\x0f\x0e" + HUFFMAN_VALUE,
    "no-indexing-new": b"\x00" + NAMED + VALUE,
    "no-indexing-new-huffman": b"\x00" + HUFFMAN_NAME + HUFFMAN_VALUE,
    "never-indexed-known": b"\x1f\x0e" + VALUE,
    "never-indexed-known-huffman": b"\x1f\x0e" + HUFFMAN_VALUE,
    "never-indexed-new": b"\x10" + NAMED + VALUE,
    "never-indexed-new-huffman": b"\x10" + HUFFMAN_NAME + HUFFMAN_VALUE,
}

HPACK: list[Case] = [
    *(
        case(f"hpack-{name}", OK, frame(HEADERS, WHOLE, 1, ON + field))
        for name, field in FIELDS.items()
    ),
    case("hpack-table-size", OK, frame(HEADERS, WHOLE, 1, b"\x3f\x61" + ON)),
    case("hpack-table-sizes", OK, frame(HEADERS, WHOLE, 1, b"\x20\x3f\x61" + ON)),
    case(
        "hpack-table-sizes-up",
        OK,
        frame(HEADERS, WHOLE, 1, b"\x3f\x61\x3f\xe1\x1f" + ON),
    ),
]

CASES: list[Case] = [*STARTING, *STREAMS, *FRAMES, *MESSAGES, *HPACK]
