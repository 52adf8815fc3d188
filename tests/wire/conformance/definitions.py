"""Each type of frame, wrong in every field it has (RFC 9113, 6 and 7)."""

from __future__ import annotations

from tests.wire.conformance.case import (
    PAYLOAD,
    Answered,
    Case,
    Ignored,
    acknowledged,
    broken,
    case,
    failed,
    get,
    is_acknowledged,
    post,
)
from tests.wire.conformance.generic import settles
from tests.wire.frames import GET, Frames
from tests.wire.raw import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEADERS,
    LARGEST_WINDOW,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WHOLE,
    WINDOW_UPDATE,
    block,
    data,
    frame,
    goaway,
    ping,
    priority,
    reset,
    settings,
    window_update,
)

ON = block(GET)
EXTRA = block([(b"x-dummy", b"1")])
PUSH, WINDOW, FRAME = 0x2, 0x4, 0x5
"""ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE."""

PROTOCOL = broken(PROTOCOL_ERROR)
SIZE = broken(FRAME_SIZE_ERROR)
FLOW = broken(FLOW_CONTROL_ERROR)

BODIES: list[Case] = [
    case("6.1-of-all", PROTOCOL, data(0)),
    case("6.1-closed", failed(STREAM_CLOSED), get(), data(1), reaches="whole"),
    case(
        "6.1-padding",
        PROTOCOL,
        post(),
        data(1, b"\x06test", PADDED | END_STREAM),
        reaches="start",
    ),
]

HEADS: list[Case] = [
    case(
        "6.2-priority-within",
        PROTOCOL,
        frame(HEADERS, END_STREAM, 1, ON),
        frame(PRIORITY, 0, 1, priority(0)),
    ),
    case("6.2-headers-within", PROTOCOL, frame(HEADERS, END_STREAM, 1, ON), get(3)),
    case("6.2-of-all", PROTOCOL, get(0)),
    case("6.2-padding", PROTOCOL, frame(HEADERS, WHOLE | PADDED, 1, b"\xff" + ON)),
    case(
        "6.2-padding-by-one",
        PROTOCOL,
        frame(HEADERS, WHOLE | PADDED, 1, bytes((len(ON) + 1,)) + ON),
    ),
    case("6.3-of-all", PROTOCOL, frame(PRIORITY, 0, 0, priority(1))),
    case(
        "6.3-length",
        failed(FRAME_SIZE_ERROR),
        post(),
        frame(PRIORITY, 0, 1, b"\x80\0\0\x01"),
        reaches="start",
    ),
    case(
        "6.3-length-half-closed",
        failed(FRAME_SIZE_ERROR),
        get(),
        frame(PRIORITY, 0, 1, b"\x80\0\0\x01"),
        reaches="whole",
    ),
    case("6.4-of-all", PROTOCOL, reset(0)),
    case("6.4-idle", PROTOCOL, reset(1)),
    case(
        "6.4-length", SIZE, post(), frame(RST_STREAM, 0, 1, b"\0" * 3), reaches="start"
    ),
    case(
        "6.4-length-half-closed",
        SIZE,
        get(),
        frame(RST_STREAM, 0, 1, b"\0" * 3),
        reaches="whole",
    ),
]


def no_answer_to_an_answer(client: Frames) -> None:
    """PING with ACK is answered by nobody: the PING behind it is answered first."""
    client.wait(lambda: is_acknowledged(client, b"behind_it"[:8]))
    assert not is_acknowledged(client, b"answered")


CONTROL: list[Case] = [
    case("6.5-ack-of-something", SIZE, frame(SETTINGS, ACK, 0, b"\0" * 6)),
    case("6.5-ack-of-a-byte", SIZE, frame(SETTINGS, ACK, 0, b"\0")),
    case("6.5-of-one", PROTOCOL, settings((3, 100), stream=1)),
    case("6.5-length", SIZE, frame(SETTINGS, 0, 0, b"\0" * 3)),
    case("6.5.2-push", PROTOCOL, settings((PUSH, 2))),
    case("6.5.2-window", FLOW, settings((WINDOW, 2**31))),
    case("6.5.2-small-frame", PROTOCOL, settings((FRAME, 16_383))),
    case("6.5.2-large-frame", PROTOCOL, settings((FRAME, 2**24))),
    case("6.5.2-unknown", Ignored(), settings((0xFF, 1))),
    case("6.5.3-acknowledged", Ignored(), settles),
    case("6.7-answered", Ignored(), ping(PAYLOAD), acknowledged),
    case(
        "6.7-answer",
        Ignored(),
        ping(b"answered", ACK),
        ping(b"behind_i"),
        no_answer_to_an_answer,
    ),
    case("6.7-of-one", PROTOCOL, ping(stream=1)),
    case("6.7-length", SIZE, frame(PING, 0, 0, b"\0" * 6)),
    case("6.8-of-one", PROTOCOL, goaway(stream=1)),
]


def one_byte(client: Frames) -> None:
    """The window lets out a byte of the body and no more."""
    client.wait(lambda: client.answers[1].data if 1 in client.answers else False)
    client.send(ping(b"that's it"[:8]))
    client.wait(lambda: is_acknowledged(client, b"that's i"))
    assert len(client.answers[1].data) == 1


def only_a_head(client: Frames) -> None:
    client.wait(lambda: 1 in client.answers and client.answers[1].status)
    assert not client.answers[1].data


WINDOWS: list[Case] = [
    case("6.9-nothing", PROTOCOL, window_update(0, 0)),
    case(
        "6.9-nothing-of-one",
        failed(PROTOCOL_ERROR),
        post(),
        window_update(1, 0),
        reaches="start",
    ),
    case("6.9-length", SIZE, frame(WINDOW_UPDATE, 0, 0, b"\0" * 3)),
    case(
        "6.9.1-kept", Ignored(), settings((WINDOW, 1)), get(), one_byte, reaches="whole"
    ),
    case(
        "6.9.1-opened-half-closed",
        Ignored(),
        settings((WINDOW, 0)),
        get(),
        only_a_head,
        window_update(1, 1),
        one_byte,
        reaches="whole",
    ),
    case(
        "6.9.1-opened-behind-priority",
        Ignored(),
        settings((WINDOW, 0)),
        get(),
        only_a_head,
        frame(PRIORITY, 0, 1, priority(0)),
        window_update(1, 1),
        one_byte,
        reaches="whole",
    ),
    case("6.9.1-overflow", FLOW, window_update(0, LARGEST_WINDOW) * 2),
    case(
        "6.9.1-overflow-of-one",
        failed(FLOW_CONTROL_ERROR),
        post(),
        window_update(1, LARGEST_WINDOW) * 2,
        reaches="start",
    ),
    case(
        "6.9.2-opened-later",
        Ignored(),
        settings((WINDOW, 0)),
        get(),
        only_a_head,
        settings((WINDOW, 1)),
        one_byte,
        reaches="whole",
    ),
    case(
        "6.9.2-below-nothing",
        Ignored(),
        settings((WINDOW, 3)),
        get(),
        lambda client: client.wait(lambda: len(_body(client)) == 3),
        settings((WINDOW, 2)),
        window_update(1, 2),
        lambda client: client.wait(lambda: len(_body(client)) == 4),
        reaches="whole",
    ),
    case("6.9.2-too-large", FLOW, settings((WINDOW, 2**31))),
    case(
        "6.5.3-the-last-counts",
        Ignored(),
        settings((WINDOW, 100), (WINDOW, 1)),
        get(),
        one_byte,
        reaches="whole",
    ),
]


def _body(client: Frames) -> bytes:
    return client.answers[1].data if 1 in client.answers else b""


CONTINUATIONS: list[Case] = [
    case(
        "6.10-several",
        Answered(),
        frame(HEADERS, END_STREAM, 1, ON),
        frame(CONTINUATION, 0, 1, EXTRA) * 2,
        frame(CONTINUATION, END_HEADERS, 1, EXTRA),
    ),
    case(
        "6.10-data-within",
        PROTOCOL,
        frame(HEADERS, 0, 1, ON),
        frame(CONTINUATION, 0, 1, EXTRA),
        data(1),
    ),
    case("6.10-data-at-once", PROTOCOL, frame(HEADERS, 0, 1, ON), data(1)),
    case(
        "6.10-of-all",
        PROTOCOL,
        frame(HEADERS, END_STREAM, 1, ON),
        frame(CONTINUATION, END_HEADERS, 0, EXTRA),
    ),
    case(
        "6.10-behind-the-head",
        PROTOCOL,
        post(),
        frame(CONTINUATION, END_HEADERS, 1, EXTRA),
        reaches="start",
    ),
    case(
        "6.10-behind-the-last",
        PROTOCOL,
        frame(HEADERS, 0, 1, ON),
        frame(CONTINUATION, END_HEADERS, 1, EXTRA) * 2,
        reaches="start",
    ),
    case(
        "6.10-behind-data",
        PROTOCOL,
        post(),
        data(1, flags=0),
        frame(CONTINUATION, END_HEADERS, 1, EXTRA),
        reaches="start",
    ),
]

CODES: list[Case] = [
    case("7-goaway", Ignored(may_end=True), goaway(code=0xFF)),
    case("7-reset", Ignored(), post(), reset(1, 0xFF), reaches="start"),
]

CASES: list[Case] = [*BODIES, *HEADS, *CONTROL, *WINDOWS, *CONTINUATIONS, *CODES]
