"""What an origin does wrongly with one stream, and what looks wrong and is not."""

from __future__ import annotations

from tests.wire.backend import good
from tests.wire.mistakes.case import STATUS, Case, Outcome, case, head
from tests.wire.raw import (
    CANCEL,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    LARGEST_WINDOW,
    NO_ERROR,
    PADDED,
    PRIORITY,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    UNKNOWN,
    WHOLE,
    Field,
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


def malformed(name: str, *fields: Field, flags: int = WHOLE) -> Case:
    return case(name, lambda s: headers(s, fields, flags), costs="stream")


HEADS: list[Case] = [
    malformed("no-status", (b"x", b"y")),
    malformed("no-fields"),
    malformed("status-twice", STATUS, STATUS),
    malformed("status-short", (b":status", b"20")),
    malformed("status-long", (b":status", b"2000")),
    malformed("status-words", (b":status", b"200 OK")),
    malformed("status-099", (b":status", b"099")),
    malformed("status-empty", (b":status", b"")),
    malformed("status-101", (b":status", b"101")),
    malformed("status-101-open", (b":status", b"101"), flags=END_HEADERS),
    malformed("status-late", (b"x", b"y"), STATUS),
    malformed("pseudo-of-requests", STATUS, (b":path", b"/")),
    malformed("pseudo-unknown", STATUS, (b":reason", b"OK")),
    malformed("upper-case", STATUS, (b"X-Upper", b"y")),
    malformed("name-empty", STATUS, (b"", b"y")),
    malformed("name-space", STATUS, (b"x y", b"z")),
    malformed("name-colon", STATUS, (b"x:y", b"z")),
    malformed("value-nul", STATUS, (b"x", b"y\0z")),
    malformed("value-crlf", STATUS, (b"x", b"y\r\nset-cookie: z")),
    malformed("connection", STATUS, (b"connection", b"close")),
    malformed("keep-alive", STATUS, (b"keep-alive", b"timeout=5")),
    malformed("transfer-encoding", STATUS, (b"transfer-encoding", b"chunked")),
    malformed("upgrade", STATUS, (b"upgrade", b"h2c")),
    malformed("length-of-nothing", STATUS, (b"content-length", b"5")),
    malformed("length-negative", STATUS, (b"content-length", b"-1")),
    malformed("length-words", STATUS, (b"content-length", b"five")),
    malformed("length-twice", STATUS, *[(b"content-length", b"0")] * 2),
    malformed("informational-end", (b":status", b"103")),
    case("data-first", lambda s: data(s), costs="stream"),
]

CUT: tuple[Outcome, ...] = ("bad", "cut")

BODIES: list[Case] = [
    case(
        "longer",
        lambda s: head(s, (b"content-length", b"2")) + data(s, b"abc"),
        *CUT,
        costs="stream",
    ),
    case(
        "longer-in-pieces",
        lambda s: [
            head(s, (b"content-length", b"2")),
            data(s, b"ab", 0),
            data(s, b"c"),
        ],
        *CUT,
        "good",  # over HTTP/1.1 it was whole before it became too long
        costs="stream",
    ),
    case(
        "shorter",
        lambda s: head(s, (b"content-length", b"5")) + data(s, b"abc"),
        *CUT,
        costs="stream",
    ),
    case(
        "shorter-by-trailers",
        lambda s: (
            head(s, (b"content-length", b"5"))
            + data(s, b"abc", 0)
            + headers(s, [(b"x", b"y")])
        ),
        *CUT,
        costs="stream",
    ),
    case(
        "trailers-without-end",
        lambda s: head(s) + data(s, b"ab", 0) + headers(s, [(b"x", b"y")], END_HEADERS),
        *CUT,
        costs="stream",
    ),
    case(
        "trailers-pseudo",
        lambda s: head(s) + data(s, b"ab", 0) + headers(s, [STATUS]),
        *CUT,
        costs="stream",
    ),
    case(
        "trailers-upper-case",
        lambda s: head(s) + data(s, b"ab", 0) + headers(s, [(b"X", b"y")]),
        *CUT,
        costs="stream",
    ),
    case(
        "trailers-crlf",
        lambda s: head(s) + data(s, b"ab", 0) + headers(s, [(b"x", b"y\r\nz: 1")]),
        *CUT,
        costs="stream",
    ),
    case("window-update-of-one", lambda s: window_update(s, 0), costs="stream"),
    case(
        "window-overflow-of-one",
        lambda s: window_update(s, LARGEST_WINDOW) * 2,
        costs="stream",
    ),
    case(
        "priority-on-itself",
        lambda s: frame(PRIORITY, 0, s, priority(s)),
        costs="stream",
    ),
    case("priority-length", lambda s: frame(PRIORITY, 0, s, b"\0" * 4), costs="stream"),
]


def was_reset(code: int) -> Case:
    return case(f"reset-{code:#x}", lambda s: reset(s, code), costs="stream")


ENDS: list[Case] = [
    *(
        was_reset(code)
        for code in (NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, CANCEL, 0xFF)
    ),
    case("reset-calm", lambda s: reset(s, ENHANCE_YOUR_CALM), costs="stream"),
    case(
        "reset-refused",
        lambda s: reset(s, REFUSED_STREAM),
        "bad",
        "good",
        costs="stream",
    ),
    case("reset-in-body", lambda s: head(s) + reset(s), *CUT, costs="stream"),
    case(
        "reset-in-body-well",
        lambda s: head(s) + reset(s, NO_ERROR),
        *CUT,
        costs="stream",
    ),
    case("goaway-error", lambda s: goaway(s, PROTOCOL_ERROR), then="end"),
    case("goaway-unbegun", goaway(0), "good", "bad", then="end"),
    case(
        "goaway-unbegun-error", goaway(0, ENHANCE_YOUR_CALM), "good", "bad", then="end"
    ),
    case("goaway-unknown", lambda s: goaway(s, 0xFF), then="end"),
    case("goaway-grows", lambda s: goaway(0) + goaway(s), "good", "bad", then="end"),
    case("goaway-in-body", lambda s: head(s) + goaway(s, 2), *CUT, then="end"),
    case("ends-in-body", lambda s: head(s) + data(s, b"ab", 0), *CUT, then="end"),
    case("ends-in-frame", lambda s: head(s) + data(s, b"abcd")[:-2], *CUT, then="end"),
    case("ends-in-head", lambda s: head(s)[:-2], then="end"),
]

GOOD: list[Case] = [
    case(f"good-{name}", made, "good", costs="nothing")
    for name, made in {
        "unknown-frame": lambda s: frame(UNKNOWN, 0, s, b"?") + good(s),
        "unknown-setting": lambda s: settings((0xFF, 1)) + good(s),
        "ping": lambda s: ping() + good(s),
        "pong": lambda s: ping(flags=1) + good(s),
        "priority": lambda s: frame(PRIORITY, 0, s, priority(0)) + good(s),
        "window": lambda s: window_update(s, 1) + window_update(0, 1) + good(s),
        "informational": lambda s: (
            headers(s, [(b":status", b"103"), (b"link", b"x")], END_HEADERS) + good(s)
        ),
        "padded": lambda s: head(s) + data(s, b"\x02good\0\0", PADDED | 1),
        "trailers": lambda s: (
            head(s) + data(s, b"good", 0) + headers(s, [(b"x", b"y")])
        ),
        "empty-end": lambda s: head(s) + data(s, b"good", 0) + data(s, b""),
        "reset-behind": lambda s: good(s) + reset(s, NO_ERROR),
    }.items()
]
LEAVING: list[Case] = [
    case("good-goaway", lambda s: goaway(s) + good(s), "good"),
    case(
        "good-early",
        lambda s: good(s) + reset(s, 0),
        "good",
        costs="nothing",
        is_early=True,
    ),
]

CASES: list[Case] = [*HEADS, *BODIES, *ENDS, *GOOD, *LEAVING]
