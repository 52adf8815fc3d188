"""Each kind of frame has a bound; what a good client sends is far below."""

from __future__ import annotations

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from proxy.codec import h2
from proxy.codec.h2 import guard
from proxy.codec.h2.codec import PREFACE
from proxy.codec.h2.guard import Guard


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watched(clock: Clock) -> Guard:
    watched = Guard("server", h2.Settings(), clock)
    assert watched.check(PREFACE) == ""
    return watched


def bound(watched: Guard, frame: Frame) -> int:
    """How many of these pass."""
    data = frame.serialize()
    for count in range(5000):
        if watched.check(data):
            return count
    return 5000


@pytest.mark.parametrize(
    ("frame", "passing"),
    [
        (PingFrame(0, b"12345678"), guard.BURST),
        (SettingsFrame(0, settings={4: 1}), guard.BURST),
        (PriorityFrame(1, depends_on=0, stream_weight=1), guard.PRIORITIES),
        (WindowUpdateFrame(0, window_increment=1), guard.WINDOW_UPDATES),
        (RstStreamFrame(1, error_code=8), guard.RESETS),
        (ContinuationFrame(1, b"x"), h2.HeadBounds().continuations),
        (DataFrame(1, b""), guard.EMPTY),
        (SettingsFrame(0, settings=dict.fromkeys(range(1, 40), 1)), 0),
        (PriorityFrame(3, depends_on=3, stream_weight=1), 0),
        (DataFrame(1, b"x" * 16_385), 0),
        (HeadersFrame(1, b"x"), guard.UNHEARD + 1),
    ],
)
def test_so_many_pass_and_no_more(watched: Guard, frame: Frame, passing: int) -> None:
    assert bound(watched, frame) == passing


def test_time_gives_back_what_pings_took(watched: Guard, clock: Clock) -> None:
    ping = PingFrame(0, b"12345678")
    assert bound(watched, ping) == guard.BURST
    clock.now += 5

    assert bound(watched, ping) == pytest.approx(5 * guard.RATE, abs=1)


def test_data_allows_pings(watched: Guard) -> None:
    both = DataFrame(1, b"x").serialize() + PingFrame(0, b"12345678").serialize()

    assert all(watched.check(both) == "" for _ in range(5000))


def test_streams_and_data_allow_window_updates(watched: Guard) -> None:
    watched.sent = 100

    expected = guard.WINDOW_UPDATES + 100 * guard.FOR_DATA
    assert bound(watched, WindowUpdateFrame(0, window_increment=1)) == expected


def test_heads_that_were_heard_have_no_bound(watched: Guard) -> None:
    head = HeadersFrame(1, b"x", flags=["END_HEADERS"]).serialize()
    for _ in range(1000):
        assert watched.check(head) == ""
        watched.heard += 1


def test_frames_may_be_cut_anywhere(clock: Clock) -> None:
    sent = (
        PREFACE
        + SettingsFrame(0).serialize()
        + HeadersFrame(1, b"abc", flags=["END_HEADERS", "PRIORITY"]).serialize()
        + DataFrame(1, b"x" * 100, flags=["END_STREAM"]).serialize()
        + HeadersFrame(3, b"abc", flags=["END_STREAM", "PRIORITY"]).serialize()
        + PriorityFrame(3, depends_on=3, stream_weight=1).serialize()
    )
    watched = Guard("server", h2.Settings(), clock)

    told = [watched.check(sent[n : n + 1]) for n in range(len(sent))]

    assert [each for each in told if each] == ["a stream that depends on itself"]


def test_nothing_comes_behind_an_end(watched: Guard) -> None:
    head = HeadersFrame(1, b"x", flags=["END_HEADERS", "END_STREAM"]).serialize()
    assert watched.check(head) == ""

    why = watched.check(DataFrame(1, b"x").serialize())

    assert why == "a frame on a stream that its sender has ended"
    assert watched.code == h2.STREAM_CLOSED


def test_an_acknowledgement_says_no_more(watched: Guard) -> None:
    settings = bytearray(SettingsFrame(0, settings={4: 1}).serialize())
    settings[4] = 1

    assert watched.check(bytes(settings)) == "an acknowledgement that says more"
    assert watched.code == h2.FRAME_SIZE_ERROR


def test_a_priority_is_of_a_stream(watched: Guard) -> None:
    priority = bytearray(PriorityFrame(1, depends_on=3).serialize())
    priority[8] = 0

    assert watched.check(bytes(priority)) == "a priority of no stream"
    assert watched.code == h2.PROTOCOL_ERROR


def test_a_servers_heads_are_its_own_affair(clock: Clock) -> None:
    watched = Guard("client", h2.Settings(), clock)
    for stream in range(1, 3001, 2):
        watched.halves.opened(stream)
        head = HeadersFrame(stream, b"x", flags=["END_HEADERS", "END_STREAM"])

        assert watched.check(head.serialize()) == ""


@pytest.mark.parametrize("size", [1, 5, 9, 30, 1000])
def test_a_piece_ends_before_too_many_heads_wherever_the_last_one_did(
    size: int,
) -> None:
    head, body = HeadersFrame(1, b"x" * 21), DataFrame(1, b"y" * 91)
    frame = head.serialize() + body.serialize()
    data, least = frame * 1000, 300
    client = Guard("client", h2.Settings())
    start, pieces = 0, 0
    while start < len(data):
        if pieces % 2:
            stop = min(start + size, len(data))  # as reads cut it
        else:
            stop = client.stop(data, start, len(data), least)
            # One may have begun in the piece before.
            assert data[start:stop].count(b"x" * 21) <= guard.HEADS + 1
        client.check(data[start:stop])
        assert stop > start
        start, pieces = stop, pieces + 1

    assert pieces >= 2 * len(data) // (guard.HEADS * len(frame) + least + size)


def test_a_piece_of_data_ends_where_it_may() -> None:
    client = Guard("client", h2.Settings())
    data = DataFrame(1, b"y" * 16_000).serialize() * 10

    assert client.stop(data, 0, 70_000, 1000) == 70_000
    client.check(data[:70_000])
    assert client.stop(data, 70_000, 140_000, 1000) == 140_000
