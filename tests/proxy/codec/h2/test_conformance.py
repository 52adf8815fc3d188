"""What RFC 9113 and 7541 have a server answer to wrong frames, whatever the library."""

from __future__ import annotations

import hpack
import pytest
from hyperframe.frame import GoAwayFrame, RstStreamFrame

from proxy.codec import h2
from proxy.codec.h2.codec import PREFACE
from tests.proxy.codec.h2.ends import GET, LIBRARIES, End, frames

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, MORE = range(10)
END, HEAD, PADDED = 0x1, 0x4, 0x8
PROTOCOL, FLOW, CLOSED, SIZE, COMPRESSION = 0x1, 0x3, 0x5, 0x6, 0x9


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    length = len(payload).to_bytes(3, "big")
    return length + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


BLOCK = hpack.Encoder().encode(GET)
WHOLE = frame(HEADERS, HEAD | END, 1, BLOCK)
OPENED = frame(HEADERS, HEAD, 1, BLOCK)
RESET = frame(RST, 0, 1, number(8))

CONNECTION: dict[str, tuple[bytes, set[int]]] = {
    "DATA on stream 0": (frame(DATA, 0, 0, b"x"), {PROTOCOL}),
    "DATA on an idle stream": (frame(DATA, 0, 1, b"x"), {PROTOCOL}),
    "DATA behind END_STREAM": (WHOLE + frame(DATA, 0, 1, b"x"), {CLOSED}),
    "padding longer than DATA": (
        OPENED + frame(DATA, PADDED, 1, b"\x05x"),
        {PROTOCOL},
    ),
    "DATA over the limit": (OPENED + frame(DATA, 0, 1, bytes(16_385)), {SIZE}),
    "HEADERS on stream 0": (frame(HEADERS, HEAD, 0, BLOCK), {PROTOCOL}),
    "an even stream": (frame(HEADERS, HEAD | END, 2, BLOCK), {PROTOCOL}),
    "a lower stream": (
        frame(HEADERS, HEAD | END, 5, BLOCK) + frame(HEADERS, HEAD | END, 3, BLOCK),
        {PROTOCOL, CLOSED},
    ),
    "HEADERS behind END_STREAM": (WHOLE + WHOLE, {PROTOCOL, CLOSED}),
    "a block that is cut by DATA": (
        frame(HEADERS, 0, 1, BLOCK) + frame(DATA, 0, 1, b"x"),
        {PROTOCOL},
    ),
    "a block that is cut by another": (
        frame(HEADERS, 0, 1, BLOCK) + frame(MORE, HEAD, 3, b""),
        {PROTOCOL},
    ),
    "CONTINUATION alone": (OPENED + frame(MORE, HEAD, 1, BLOCK), {PROTOCOL}),
    "a block with an index of nothing": (
        frame(HEADERS, HEAD | END, 1, b"\xbe"),
        {COMPRESSION, PROTOCOL},
    ),
    "a table larger than allowed": (
        frame(HEADERS, HEAD | END, 1, b"\x3f\xff\xff\x03" + BLOCK),
        {COMPRESSION, PROTOCOL},
    ),
    "a table that changes behind a field": (
        frame(HEADERS, HEAD | END, 1, BLOCK + b"\x20"),
        {COMPRESSION, PROTOCOL},
    ),
    "PRIORITY on stream 0": (frame(PRIORITY, 0, 0, bytes(5)), {PROTOCOL}),
    "a stream behind itself": (
        frame(PRIORITY, 0, 1, number(1) + b"\x00"),
        {PROTOCOL},
    ),
    "RST_STREAM on stream 0": (frame(RST, 0, 0, number(8)), {PROTOCOL}),
    "RST_STREAM on an idle stream": (RESET, {PROTOCOL}),
    "RST_STREAM on an idle stream, later": (
        WHOLE + frame(RST, 0, 9, number(8)),
        {PROTOCOL},
    ),
    "RST_STREAM of another size": (OPENED + frame(RST, 0, 1, b"xyz"), {SIZE}),
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1), {PROTOCOL}),
    "SETTINGS of another size": (frame(SETTINGS, 0, 0, b"xyz"), {SIZE}),
    "SETTINGS that acknowledge something": (
        frame(SETTINGS, END, 0, bytes(6)),
        {SIZE},
    ),
    "ENABLE_PUSH of 2": (frame(SETTINGS, 0, 0, b"\0\2" + number(2)), {PROTOCOL}),
    "a window too large": (frame(SETTINGS, 0, 0, b"\0\4" + number(2**31)), {FLOW}),
    "frames too small": (frame(SETTINGS, 0, 0, b"\0\5" + number(100)), {PROTOCOL}),
    "a push by a client": (
        OPENED + frame(PUSH, HEAD, 1, number(2) + BLOCK),
        {PROTOCOL},
    ),
    "PING on a stream": (frame(PING, 0, 1, bytes(8)), {PROTOCOL}),
    "PING of another size": (frame(PING, 0, 0, bytes(6)), {SIZE}),
    "GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), {PROTOCOL}),
    "WINDOW_UPDATE of nothing": (frame(WINDOW, 0, 0, number(0)), {PROTOCOL}),
    "WINDOW_UPDATE on an idle stream": (frame(WINDOW, 0, 1, number(1)), {PROTOCOL}),
    "WINDOW_UPDATE on an idle stream, later": (
        WHOLE + frame(WINDOW, 0, 9, number(1)),
        {PROTOCOL},
    ),
    "WINDOW_UPDATE of another size": (frame(WINDOW, 0, 0, b"xyz"), {SIZE}),
    "a connection's window too large": (
        frame(WINDOW, 0, 0, number(2**31 - 1)),
        {FLOW},
    ),
}
"""Frames, and the codes that may stand in the GOAWAY."""

STREAM: dict[str, tuple[bytes, set[int]]] = {
    "a stream's window too large": (
        OPENED + frame(WINDOW, 0, 1, number(2**31 - 1)),
        {FLOW},
    ),
    "WINDOW_UPDATE of nothing on a stream": (
        OPENED + frame(WINDOW, 0, 1, number(0)),
        {PROTOCOL},
    ),
    "trailers that end nothing": (
        OPENED + frame(HEADERS, HEAD, 1, hpack.Encoder().encode([(b"x", b"y")])),
        {PROTOCOL},
    ),
    "another length than was told": (
        frame(
            HEADERS, HEAD, 1, hpack.Encoder().encode([*GET, (b"content-length", b"5")])
        )
        + frame(DATA, END, 1, b"x"),
        {PROTOCOL},
    ),
    "another length than was told, by trailers": (
        frame(
            HEADERS, HEAD, 1, hpack.Encoder().encode([*GET, (b"content-length", b"5")])
        )
        + frame(DATA, 0, 1, b"x")
        + frame(HEADERS, HEAD | END, 1, hpack.Encoder().encode([(b"x", b"y")])),
        {PROTOCOL},
    ),
}
"""Frames, and the codes with which their stream is reset, or the connection ends."""

GOOD: dict[str, bytes] = {
    "an unknown frame": frame(0x16, 0, 0, b"whatever"),
    "an unknown setting": frame(SETTINGS, 0, 0, b"\x7f\x7f" + number(1)),
    "an unknown flag": frame(PING, 0x16, 0, bytes(8)),
    "a reserved bit": frame(PING, 0, 0x80000000, bytes(8)),
    "PRIORITY on an idle stream": frame(PRIORITY, 0, 9, bytes(5)),
    "RST_STREAM behind END_STREAM": WHOLE + RESET,
    "WINDOW_UPDATE behind RST_STREAM": OPENED + RESET + frame(WINDOW, 0, 1, number(1)),
    "a block in two frames": frame(HEADERS, END, 1, BLOCK[:2])
    + frame(MORE, HEAD, 1, BLOCK[2:]),
    "padded DATA": OPENED + frame(DATA, PADDED | END, 1, b"\x02xyz"),
    "trailers behind a body of the length that was told": frame(
        HEADERS, HEAD, 1, hpack.Encoder().encode([*GET, (b"content-length", b"1")])
    )
    + frame(DATA, 0, 1, b"x")
    + frame(HEADERS, HEAD | END, 1, hpack.Encoder().encode([(b"x", b"y")])),
    "a table made smaller": frame(HEADERS, HEAD | END, 1, b"\x20" + BLOCK),
}
"""What harms nothing."""


@pytest.fixture(params=LIBRARIES)
def server(request: pytest.FixtureRequest) -> End:
    server = End("server", library=request.param)
    server.codec.receive(PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, END, 0))
    server.codec.take()
    return server


def codes(server: End, kind: type[GoAwayFrame] | type[RstStreamFrame]) -> set[int]:
    found = frames(server.codec.take())
    return {each.error_code for each in found if isinstance(each, kind)}


@pytest.mark.parametrize("name", CONNECTION)
def test_what_the_connection_ends_with(server: End, name: str) -> None:
    sent, allowed = CONNECTION[name]
    server.codec.receive(sent)
    told = codes(server, GoAwayFrame)

    assert told
    assert told <= allowed
    assert server.codec.is_over
    assert server.codec.failure
    assert server.codec.take() == b""


@pytest.mark.parametrize("name", STREAM)
def test_what_a_stream_ends_with(server: End, name: str) -> None:
    sent, allowed = STREAM[name]
    server.codec.receive(sent)
    told = {
        each.error_code
        for each in frames(server.codec.take())
        if isinstance(each, (GoAwayFrame, RstStreamFrame))
    }

    assert told
    assert told <= allowed
    assert all(is_ours for _, _, is_ours in server.closed)


@pytest.mark.parametrize("name", GOOD)
def test_what_is_allowed_harms_nothing(server: End, name: str) -> None:
    server.codec.receive(GOOD[name])
    server.codec.receive(frame(PING, 0, 0, b"and now?"))
    answer = frames(server.codec.take())

    assert not server.codec.is_over
    assert not any(isinstance(each, GoAwayFrame) for each in answer)
    assert getattr(answer[-1], "opaque_data", b"") == b"and now?"


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_first_frame_is_settings(library: str) -> None:
    server = End("server", library=library)
    server.codec.receive(PREFACE + frame(PING, 0, 0, bytes(8)))

    assert h2.PROTOCOL_ERROR in codes(server, GoAwayFrame)
    assert server.codec.is_over
