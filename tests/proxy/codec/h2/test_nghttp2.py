"""What is libnghttp2's own: connections that it ends by itself, or drops."""

from __future__ import annotations

from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PushPromiseFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from proxy.codec import h2
from proxy.codec.h2.codec import PREFACE
from tests.proxy.codec.h2.ends import End, Ends


def frames(data: bytes) -> list[Frame]:
    found = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        found.append(frame)
        data = data[9 + length :]
    return found


def server_with(*sent: Frame) -> tuple[End, list[Frame]]:
    """A server that was sent these, and what it answered."""
    server = End("server")
    server.codec.receive(PREFACE + SettingsFrame(0).serialize())
    server.codec.take()
    server.codec.receive(b"".join(each.serialize() for each in sent))
    return server, frames(server.codec.take())


def test_the_first_frames_say_what_is_granted() -> None:
    settings = h2.Settings(max_streams=7, stream_window=70_000, max_frame=20_000)
    first, window = frames(End("server", settings).codec.take())

    assert isinstance(first, SettingsFrame)
    assert (first.settings[3], first.settings[4], first.settings[5]) == (
        7,
        70_000,
        20_000,
    )
    assert isinstance(window, WindowUpdateFrame)
    assert window.window_increment == 1024 * 1024 - 65_535


def test_a_client_takes_no_pushes() -> None:
    data = End("client").codec.take().removeprefix(PREFACE)
    first = frames(data)[0]

    assert isinstance(first, SettingsFrame)
    assert first.settings[2] == 0


def test_a_push_ends_the_connection() -> None:
    ends = Ends()
    ends.talk()
    ends.ask()
    push = PushPromiseFrame(
        1, promised_stream_id=2, data=b"\x82", flags=["END_HEADERS"]
    )
    ends.client.codec.receive(push.serialize())
    answer = frames(ends.client.codec.take())

    assert isinstance(answer[-1], GoAwayFrame)
    assert ends.client.codec.is_over


def test_no_preface_is_no_connection() -> None:
    server = End("server")
    server.codec.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert server.codec.is_over
    assert server.codec.failure


def test_data_on_an_idle_stream_is_answered_with_a_goaway() -> None:
    server, answer = server_with(DataFrame(1, b"x"))

    assert isinstance(answer[-1], GoAwayFrame)
    assert server.codec.is_over


def test_a_malformed_head_resets_its_stream_and_nobody_is_told() -> None:
    head = HeadersFrame(1, b"\x82\x86\x84\x40\x01X\x01y", flags=["END_HEADERS"])
    server, answer = server_with(head)

    assert server.heads == []
    assert answer[-1].stream_id == 1
    assert not server.codec.is_over
