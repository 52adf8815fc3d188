"""What is libnghttp2's own: connections that it ends by itself, or drops."""

from __future__ import annotations

import hpack
import pytest
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
from proxy.codec.h2.guard import HEADS
from tests.proxy.codec.h2.ends import GET, OK, End, Ends


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


def test_it_says_whether_there_is_something_to_send() -> None:
    ends = Ends(End("client"), End("server"))
    codec = ends.server.codec
    told = [codec.has_output]
    ends.talk()
    told.append(codec.has_output)
    stream = ends.ask(is_end=False)
    ends.client.codec.send(stream, b"x" * 40_000, is_end=True)
    ends.talk()
    for size in (1, 39_999):
        codec.consumed(stream, size)
        told.append(codec.has_output)
    codec.take()
    codec.respond(stream, OK, is_end=True)
    told.append(codec.has_output)
    codec.take()
    codec.fail(h2.PROTOCOL_ERROR, "enough")
    told.append(codec.has_output)
    codec.take()

    assert [*told, codec.has_output] == [True, False, False, True, True, True, False]


def test_a_wider_window_holds_for_its_stream_from_then_on() -> None:
    ends = Ends(End("client"), End("server"))
    ends.talk()
    stream, other = ends.ask(is_end=False), ends.ask(is_end=False)
    ends.client.codec.send(stream, b"x" * 1_000_000, is_end=True)
    ends.client.codec.send(other, b"x" * 1_000_000, is_end=True)
    ends.talk()
    ends.server.codec.consumed(stream, len(ends.server.data.pop(stream)))
    ends.server.codec.widen(stream, 200_000)
    for _ in range(3):
        ends.talk()
        held = len(ends.server.data.pop(stream))
        assert held == 200_000
        ends.server.codec.consumed(stream, held)
    assert len(ends.server.data[other]) == 65_535
    ends.server.codec.reset(stream, h2.CANCEL)
    ends.talk()
    ends.server.codec.widen(stream, 300_000)
    assert not ends.server.codec.is_over


def test_a_reset_amid_a_frame_costs_the_connection_no_window() -> None:
    granted = h2.Settings(connection_window=65_535)
    ends = Ends(server=End("server", granted))
    ends.talk()

    for _ in range(200):
        stream = ends.client.codec.open(GET, is_end=False)
        ends.client.codec.send(stream, bytes(16_000), is_end=False)
        sent = ends.client.codec.take()
        assert len(sent) > 16_000
        ends.server.codec.receive(sent[:-100])
        ends.server.codec.reset(stream, h2.CANCEL)
        told = ends.server.codec.take()
        ends.server.codec.receive(sent[-100:])
        ends.client.codec.receive(told)
        ends.talk()

    assert not ends.server.codec.is_over
    stream = ends.client.codec.open(GET, is_end=False)
    ends.client.codec.send(stream, bytes(100_000), is_end=True)
    assert 16_000 < len(ends.client.codec.take()) < 66_000


def test_bodies_take_turns() -> None:
    ends = Ends()
    ends.talk()
    first, second = ends.ask(), ends.ask()
    for stream in (first, second):
        ends.server.codec.respond(stream, OK, is_end=False)
        ends.server.codec.send(stream, bytes(30_000), is_end=True)

    sent = frames(ends.server.codec.take())

    bodies = [each.stream_id for each in sent if isinstance(each, DataFrame)]
    assert bodies == [first, second, first, second]


def test_no_request_is_told_of_behind_the_end() -> None:
    server = Failing("server")
    client = End("client")
    stream = client.codec.open(GET, is_end=False)
    server.codec.receive(client.codec.take())
    client.codec.reset(stream, h2.CANCEL)
    client.codec.open(GET, is_end=True)

    server.codec.receive(client.codec.take())

    assert server.codec.is_over
    assert [stream for stream, _, _ in server.heads] == [stream]


class Failing(End):
    """An end that ends everything with the first stream."""

    def on_closed(self, stream: int, code: int, is_ours: bool) -> None:
        self.codec.fail(h2.ENHANCE_YOUR_CALM, "enough")


def test_a_session_that_is_ending_by_itself_opens_no_stream_and_says_so() -> None:
    ends = Ends()
    client = ends.client.codec
    ends.talk()
    stream = client.open(GET, is_end=True)
    client.reset(stream, h2.CANCEL)
    client.take()
    block = hpack.Encoder().encode([(b":status", b"103")])
    late = HeadersFrame(stream, block, flags=["END_HEADERS"]).serialize()

    # More than libnghttp2 bears, and nothing has been taken out of it since.
    client.receive(late * 11_000)

    before = client.can_open
    with pytest.raises(h2.StreamGone):
        client.open(GET, is_end=True)
    assert (before, client.can_open) == (True, False)
    assert (client.is_closing, client.is_over) == (True, False)


def test_a_client_of_requests_is_taken_in_by_the_same_piece() -> None:
    codec = End("server").codec

    assert codec.stop(bytes(100_000), 20_000) == 20_000 + 16 * 1024


def test_of_a_server_more_is_taken_in_where_it_is_no_heads() -> None:
    codec = Ends().client.codec
    data = DataFrame(1, bytes(16_384)).serialize() * 6
    heads = HeadersFrame(1, b"\x88", flags=["END_HEADERS"]).serialize() * 2000

    assert codec.stop(data, 0) == 64 * 1024
    assert codec.stop(heads, 0) == HEADS * 10
    assert codec.stop(heads[:1000], 0) >= 1000
