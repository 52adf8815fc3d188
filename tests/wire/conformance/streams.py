"""The preface, framing and the states of streams (RFC 9113, 3 to 5)."""

from __future__ import annotations

from tests.wire.conformance.case import (
    PAYLOAD,
    Answered,
    Case,
    Ended,
    Ignored,
    acknowledged,
    answered,
    broken,
    case,
    failed,
    get,
    post,
)
from tests.wire.conformance.generic import settles
from tests.wire.frames import GET
from tests.wire.raw import (
    COMPRESSION_ERROR,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE_ERROR,
    HEADERS,
    LARGEST_FRAME,
    PING,
    PRIORITISED,
    PRIORITY,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    UNKNOWN,
    WHOLE,
    block,
    data,
    frame,
    ping,
    priority,
    reset,
    window_update,
)

ON = block(GET)
EXTRA = block([(b"x-dummy", b"1")])
MORE = frame(CONTINUATION, END_HEADERS, 1, EXTRA)
TOO_LONG = [(b"x-%d" % each, b"v" * 4000) for each in range(5)]
GRANTED = 100
"""Streams at a time: what a listener grants where nothing is said."""

PREFACE: list[Case] = [
    case("3.4-preface", Ignored(), settles),
    case("3.4-wrong", Ended(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX" * 2, greets=False),
]

NO_PREFACE = case("3.4-none", Ended(), b"GOOD DAY TO YOU\r\n\r\n", greets=False)
"""For listeners that know HTTP/2 alone: others may pass it on as what they don't know."""

FORMAT: list[Case] = [
    case("4.1-unknown-type", Ignored(), frame(UNKNOWN, 0, 0, b"\0" * 8)),
    case("4.1-unknown-flags", Ignored(), frame(PING, 0x16, 0, PAYLOAD), acknowledged),
    case("4.1-reserved-bit", Ignored(), frame(PING, 0, 1 << 31, PAYLOAD), acknowledged),
    case("4.2-largest-data", Answered(), post(), data(1, b"x" * LARGEST_FRAME)),
    case(
        "4.2-larger-data",
        failed(FRAME_SIZE_ERROR),
        post(),
        data(1, b"x" * (LARGEST_FRAME + 1)),
        reaches="start",
    ),
    case("4.2-larger-headers", broken(FRAME_SIZE_ERROR), get(1, *TOO_LONG)),
    case(
        "4.3-bad-block",
        broken(COMPRESSION_ERROR),
        frame(HEADERS, WHOLE, 1, b"\x00\x0a" + b"truncated"),
    ),
    case("4.3-cut-block", broken(COMPRESSION_ERROR), frame(HEADERS, WHOLE, 1, b"\x40")),
    case(
        "4.3-priority-within",
        broken(PROTOCOL_ERROR),
        frame(HEADERS, END_STREAM, 1, ON),
        frame(PRIORITY, 0, 1, priority(0)),
        MORE,
    ),
    case(
        "4.3-headers-within",
        broken(PROTOCOL_ERROR),
        frame(HEADERS, END_STREAM, 1, ON),
        get(3),
    ),
]

CLOSED = failed(STREAM_CLOSED)
IS_CLOSED = broken(STREAM_CLOSED)
UNASKED = broken(PROTOCOL_ERROR)
"""A CONTINUATION that continues nothing, whatever its stream's state (RFC 9113, 6.10)."""

STATES: list[Case] = [
    case("5.1-idle-data", broken(PROTOCOL_ERROR, STREAM_CLOSED), data(1)),
    case("5.1-idle-reset", broken(PROTOCOL_ERROR), reset(1)),
    case("5.1-idle-window-update", broken(PROTOCOL_ERROR), window_update(1, 100)),
    case("5.1-idle-continuation", broken(PROTOCOL_ERROR), MORE),
    case("5.1-half-closed-data", CLOSED, get(), data(1), reaches="whole"),
    case("5.1-half-closed-headers", CLOSED, get(), get(), reaches="whole"),
    case("5.1-half-closed-continuation", UNASKED, get(), MORE, reaches="whole"),
    case("5.1-reset-data", CLOSED, post(), reset(1), data(1), reaches="start"),
    case("5.1-reset-headers", CLOSED, post(), reset(1), get(), reaches="start"),
    case("5.1-reset-continuation", UNASKED, post(), reset(1), MORE, reaches="start"),
    case("5.1-closed-data", IS_CLOSED, get(), answered(), data(1), reaches="whole"),
    case("5.1-closed-headers", IS_CLOSED, get(), answered(), get(), reaches="whole"),
    case("5.1-closed-continuation", UNASKED, get(), answered(), MORE, reaches="whole"),
]

NUMBERS: list[Case] = [
    case("5.1.1-even", broken(PROTOCOL_ERROR), get(2)),
    case("5.1.1-smaller", broken(PROTOCOL_ERROR), get(5), get(3), reaches="whole"),
    case(
        "5.1.2-too-many",
        failed(REFUSED_STREAM, PROTOCOL_ERROR, stream=1 + 2 * GRANTED),
        b"".join(post(1 + 2 * each) for each in range(GRANTED + 1)),
        reaches="start",
    ),
    case(
        "5.3.1-headers-on-itself",
        failed(PROTOCOL_ERROR),
        frame(HEADERS, WHOLE | PRIORITISED, 1, priority(1) + ON),
    ),
    case(
        "5.3.1-priority-on-itself",
        failed(PROTOCOL_ERROR),
        post(),
        frame(PRIORITY, 0, 1, priority(1)),
        reaches="start",
    ),
    case(
        "5.3.1-idle-priority-on-itself",
        failed(PROTOCOL_ERROR),
        frame(PRIORITY, 0, 1, priority(1)),
    ),
]

ERRORS: list[Case] = [
    case("5.4.1-goaway", broken(FRAME_SIZE_ERROR), ping(b"short")),
    case("5.4.1-no-more", broken(FRAME_SIZE_ERROR), ping(b"short"), get()),
    case("5.5-extension", Ignored(), frame(UNKNOWN, 0, 1, b"\0" * 8)),
    case(
        "5.5-extension-within",
        broken(PROTOCOL_ERROR),
        frame(HEADERS, END_STREAM, 1, ON),
        frame(UNKNOWN, 0, 0, b"\0" * 8),
        MORE,
    ),
]

CASES: list[Case] = [*PREFACE, *FORMAT, *STATES, *NUMBERS, *ERRORS]
