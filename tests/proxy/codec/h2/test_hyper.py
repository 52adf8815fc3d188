"""What is the adapter's own: what ``h2`` does not keep, or keeps too well."""

from __future__ import annotations

import time

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from h2.settings import Settings as Values
from hyperframe.frame import (
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PushPromiseFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from proxy.codec import h2
from proxy.codec.h2.codec import LAST_STREAM, PREFACE, StreamGone
from proxy.codec.h2.hyper import TABLE, HyperCodec
from proxy.config.model import Http
from tests.proxy.codec.h2.ends import GET, OK, End, Ends, frames


def hyper(end: End) -> HyperCodec:
    assert isinstance(end.codec, HyperCodec)
    return end.codec


@pytest.fixture
def ends() -> Ends:
    ends = Ends(End("client", library="h2"), End("server", library="h2"))
    ends.talk()
    return ends


@pytest.mark.parametrize("role", ["client", "server"])
def test_the_first_bytes_are_those_of_the_other_library(role: h2.Role) -> None:
    settings = h2.Settings(max_streams=7, stream_window=70_000, max_frame=20_000)
    ours = End(role, settings, "h2").codec.take()
    theirs = End(role, settings, "ngh2").codec.take()

    first, window = frames(ours.removeprefix(PREFACE))
    expected, _ = frames(theirs.removeprefix(PREFACE))
    assert ours.startswith(PREFACE) == theirs.startswith(PREFACE) == (role == "client")
    assert isinstance(first, SettingsFrame)
    assert isinstance(expected, SettingsFrame)
    assert first.settings == expected.settings
    assert isinstance(window, WindowUpdateFrame)
    assert window.window_increment == 1024 * 1024 - 65_535


def test_a_small_window_holds_once_the_peer_knows_of_it() -> None:
    server = End("server", h2.Settings(stream_window=1000), "h2")
    client = End("client", library="h2")
    stream = client.codec.open(GET, is_end=False)
    client.codec.send(stream, b"x" * 10_000, is_end=True)
    early = client.codec.take()
    server.codec.receive(early)

    assert not server.codec.is_over
    assert len(server.data[stream]) == 10_000


def test_what_was_queued_goes_out_though_a_goaway_comes(ends: Ends) -> None:
    stream = ends.ask()
    ends.server.codec.respond(stream, OK, is_end=False)
    ends.server.codec.send(stream, b"all of it", is_end=True)
    ends.client.codec.end()
    ends.server.codec.receive(ends.client.codec.take())
    ends.talk()

    assert ends.client.data == {stream: b"all of it"}
    assert ends.server.closed == [(stream, 0, False)]


def test_no_peer_decides_how_many_fields_are_remembered_for_it(ends: Ends) -> None:
    ends.server.codec.receive(SettingsFrame(0, settings={1: 2**31}).serialize())
    hyper(ends.client)._connection.decoder.max_allowed_table_size = 2**31
    for n in range(300):
        stream = ends.ask()
        ends.server.codec.respond(stream, [*OK, (b"x-n", b"%d" % n * 100)], is_end=True)
        ends.talk()

    table = hyper(ends.server)._connection.encoder.header_table
    assert table._current_size <= TABLE
    assert len(ends.client.heads) == 300


@pytest.mark.parametrize(
    "frame",
    [
        HeadersFrame(1, b"\xff\xff\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS"]),
        PushPromiseFrame(1, promised_stream_id=2, data=b"", flags=["END_HEADERS"]),
    ],
    ids=["not HPACK", "push"],
)
def test_what_is_malformed_ends_the_connection(ends: Ends, frame: Frame) -> None:
    ends.server.codec.receive(frame.serialize())

    assert ends.server.codec.is_over
    assert ends.server.codec.failure
    assert ends.server.heads == []
    last = frames(ends.server.codec.take())
    assert [type(each) for each in last] == [GoAwayFrame]
    ends.server.codec.receive(frame.serialize())
    assert ends.server.codec.take() == b""


def test_a_push_ends_the_connection(ends: Ends) -> None:
    ends.ask()
    push = PushPromiseFrame(
        1, promised_stream_id=2, data=b"\x82", flags=["END_HEADERS"]
    )
    ends.client.codec.receive(push.serialize())

    assert ends.client.codec.is_over
    assert ends.client.closed == [(1, h2.PROTOCOL_ERROR, True)]


def test_streams_run_out(ends: Ends) -> None:
    hyper(ends.client)._last = LAST_STREAM + 2

    assert ends.client.codec.is_closing
    assert not ends.client.codec.can_open


def test_a_receiver_that_fails_the_connection_hears_no_more(ends: Ends) -> None:
    class Failing(End):
        def on_head(self, stream: int, fields: h2.Fields, is_end: bool) -> None:
            super().on_head(stream, fields, is_end)
            self.codec.fail(h2.ENHANCE_YOUR_CALM, "enough")

    ends.server = Failing("server", library="h2")
    ends.client = End("client", library="h2")
    ends.talk()
    for _ in range(3):
        ends.client.codec.open(GET, is_end=True)
    ends.talk()

    assert [stream for stream, _, _ in ends.server.heads] == [1]
    assert ends.server.closed == [(1, h2.ENHANCE_YOUR_CALM, True)]


def test_a_receiver_may_answer_at_once(ends: Ends) -> None:
    class Answering(End):
        def on_head(self, stream: int, fields: h2.Fields, is_end: bool) -> None:
            self.codec.respond(stream, OK, is_end=False)
            self.codec.send(stream, b"x", is_end=True)
            with pytest.raises(StreamGone):
                self.codec.send(stream, b"x", is_end=True)

    ends.server = Answering("server", library="h2")
    ends.client = End("client", library="h2")
    ends.talk()
    ends.ask()

    assert ends.client.data == {1: b"x"}
    assert ends.server.closed == ends.client.closed == [(1, 0, False)]


def test_windows_that_are_opened_by_the_byte_cut_the_peer(ends: Ends) -> None:
    client = H2Connection(H2Configuration())
    client.local_settings = Values(initial_values={SettingCodes.INITIAL_WINDOW_SIZE: 0})
    client.initiate_connection()
    client.send_headers(1, GET, end_stream=True)
    server = End("server", library="h2")
    server.codec.receive(client.data_to_send())
    server.codec.respond(1, OK, is_end=False)
    server.codec.send(1, b"x" * 64 * 1024, is_end=True)
    server.codec.take()

    frames_sent = 0
    while not server.codec.is_over and frames_sent < 1000:
        server.codec.receive(WindowUpdateFrame(1, window_increment=1).serialize())
        server.codec.take()
        frames_sent += 1

    assert frames_sent < 200
    assert server.codec.failure_code == h2.ENHANCE_YOUR_CALM


def test_fields_are_left_to_be_checked_by_who_is_told_of_them(ends: Ends) -> None:
    block = b"\x82\x86\x84\x40\x01X\x01y"
    frame = HeadersFrame(1, block, flags=["END_HEADERS"])
    ends.server.codec.receive(frame.serialize())

    assert not ends.server.codec.is_over
    [(_, fields, _)] = ends.server.heads
    with pytest.raises(h2.HeadError):
        h2.read_request(fields, False, Http())


def test_a_server_opens_no_streams(ends: Ends) -> None:
    frame = HeadersFrame(2, b"\x88", flags=["END_HEADERS"])
    ends.client.codec.receive(frame.serialize())

    assert ends.client.codec.is_over
    assert ends.client.codec.failure_code == h2.PROTOCOL_ERROR


def cost_of_heads(size: int) -> float:
    """Seconds of CPU for 90 heads that refer 28 times to a value of ``size`` bytes."""
    server = End("server", library="h2")
    value = bytes([127]) + bytes([(size - 127) % 128 + 128, (size - 127) // 128])
    first = b"\x82\x86\x84\x40\x01x" + value + b"v" * size
    blocks = [first] + [b"\x82\x86\x84" + b"\xbe" * 28] * 89
    heads = [
        HeadersFrame(1 + 2 * n, block, flags=["END_HEADERS", "END_STREAM"]).serialize()
        for n, block in enumerate(blocks)
    ]
    server.codec.receive(PREFACE + SettingsFrame(0).serialize())
    begun = time.process_time()
    for head in heads:
        server.codec.receive(head)
    spent = time.process_time() - begun
    assert len(server.heads) == 90
    return spent


def test_what_hpack_makes_of_a_few_bytes_is_not_looked_at_byte_by_byte() -> None:
    small = min(cost_of_heads(200) for _ in range(3))
    large = min(cost_of_heads(4000) for _ in range(3))

    # As much; it was 10 times as much, a tenth of a second for 3 KB of a client's.
    assert large < 4 * small
