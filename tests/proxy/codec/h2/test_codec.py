"""A codec's contract: what one end says the other is told, whatever the libraries."""

from __future__ import annotations

from contextlib import suppress
from itertools import product

import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    SettingsFrame,
)

from proxy.codec import h2
from proxy.codec.h2.codec import PREFACE, StreamGone
from proxy.config.model import Http
from tests.proxy.codec.h2.ends import GET, LIBRARIES, OK, End, Ends, frames

PAIRS = [*product(LIBRARIES, LIBRARIES, (False, True))]


def pair_name(pair: tuple[str, str, bool]) -> str:
    client, server, is_bytewise = pair
    return f"{client}-{server}-{'bytewise' if is_bytewise else 'whole'}"


@pytest.fixture(params=PAIRS, ids=[pair_name(each) for each in PAIRS])
def ends(request: pytest.FixtureRequest) -> Ends:
    client, server, is_bytewise = request.param
    ends = Ends(
        End("client", library=client), End("server", library=server), is_bytewise
    )
    ends.talk()
    return ends


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def with_server(library: str, settings: h2.Settings) -> Ends:
    ends = Ends(End("client", library=library), End("server", settings, library))
    ends.talk()
    return ends


# Messages


def test_a_request_and_its_answer(ends: Ends) -> None:
    stream = ends.ask()
    ends.server.codec.respond(stream, OK, is_end=False)
    ends.server.codec.send(stream, b"ok", is_end=True)
    ends.talk()

    assert ends.server.heads == [(1, GET, True)]
    assert ends.client.heads == [(1, OK, False)]
    assert ends.client.data == {1: b"ok"}
    assert ends.client.ended == [1]
    assert ends.client.closed == ends.server.closed == [(1, h2.NO_ERROR, False)]


def test_an_answer_without_a_body(ends: Ends) -> None:
    stream = ends.ask()
    ends.server.codec.respond(stream, OK, is_end=True)
    ends.talk()

    assert ends.client.heads == [(stream, OK, True)]
    assert ends.client.closed == ends.server.closed == [(stream, 0, False)]


def test_bodies_trailers_and_1xx(ends: Ends) -> None:
    stream = ends.ask(is_end=False)
    ends.client.codec.send(stream, b"question", is_end=False)
    ends.client.codec.send_trailers(stream, [(b"x-sum", b"1")])
    ends.server.codec.respond(stream, [(b":status", b"103")], is_end=False)
    ends.server.codec.respond(stream, OK, is_end=False)
    ends.server.codec.send_trailers(stream, [(b"grpc-status", b"0")])
    ends.talk()

    assert ends.server.data == {1: b"question"}
    assert ends.server.trailers == {1: [(b"x-sum", b"1")]}
    assert ends.client.informational == [b"103"]
    assert ends.client.trailers == {1: [(b"grpc-status", b"0")]}
    assert ends.client.closed == ends.server.closed == [(1, 0, False)]


def test_a_body_in_pieces_with_nothing_between(ends: Ends) -> None:
    stream = ends.ask()
    codec = ends.server.codec
    codec.respond(stream, OK, is_end=False)
    for piece in (b"", b"abc", b"", b"def"):
        codec.send(stream, piece, is_end=False)
        ends.talk()
    codec.send(stream, b"", is_end=True)
    ends.talk()

    assert ends.client.data == {1: b"abcdef"}
    assert ends.client.ended == [1]


def test_an_early_answer_leaves_the_stream_open_until_the_question_ends(
    ends: Ends,
) -> None:
    stream = ends.ask(is_end=False)
    ends.server.codec.respond(stream, OK, is_end=True)
    ends.talk()
    assert ends.server.closed == ends.client.closed == []

    ends.client.codec.send(stream, b"late", is_end=True)
    ends.talk()
    assert ends.server.closed == ends.client.closed == [(stream, 0, False)]


def test_fields_that_may_not_be_indexed_stay_so(ends: Ends) -> None:
    secret = [*GET, (b"authorization", b"Basic c2VjcmV0")]
    ends.client.codec.open(secret, is_end=True)
    ends.talk()

    (_, fields, _) = ends.server.heads[0]
    assert fields == secret
    assert type(fields[-1]) is not type(fields[0]) or ends.client.library == "ngh2"


@pytest.mark.parametrize("end", ["client", "server"])
def test_what_has_no_place_raises_and_harms_nothing(ends: Ends, end: str) -> None:
    stream = ends.ask(is_end=False)
    codec = ends.server.codec
    for wrong in (stream, 99):
        with pytest.raises(StreamGone):
            codec.send(wrong, b"no head yet", is_end=False)
        with pytest.raises(StreamGone):
            codec.send_trailers(wrong, [(b"x", b"y")])
    codec.respond(stream, OK, is_end=False)
    for again in (OK, [(b":status", b"103")]):
        with pytest.raises(StreamGone):
            codec.respond(stream, again, is_end=False)
    talking = codec if end == "server" else ends.client.codec
    talking.send(stream, b"all", is_end=True)
    with pytest.raises(StreamGone):
        talking.send(stream, b"more", is_end=False)
    with pytest.raises(StreamGone):
        talking.send_trailers(stream, [(b"x", b"y")])
    ends.talk()

    heard = ends.client if end == "server" else ends.server
    assert heard.data == {stream: b"all"}
    assert ends.client.closed == []


# Windows


def test_what_is_not_consumed_is_not_sent(ends: Ends) -> None:
    stream = ends.ask(is_end=False)
    ends.client.codec.send(stream, b"x" * 100_000, is_end=True)
    ends.talk()
    assert len(ends.server.data[1]) == 65_535
    assert ends.client.codec.queued(stream) == 100_000 - 65_535

    rooms = ends.client.rooms
    ends.server.codec.consumed(stream, 65_535)
    ends.talk()
    assert len(ends.server.data[1]) == 100_000
    assert ends.client.rooms > rooms
    assert ends.client.codec.queued(stream) == 0


def test_answers_share_the_connections_window_by_turns(library: str) -> None:
    narrow = h2.Settings(connection_window=100_000)
    ends = Ends(End("client", narrow, library=library), End("server", library=library))
    ends.talk()
    streams = [ends.ask() for _ in range(4)]
    for stream in streams:
        ends.server.codec.respond(stream, OK, is_end=False)
        ends.server.codec.send(stream, b"x" * 60_000, is_end=True)
    ends.talk()

    sizes = {stream: len(data) for stream, data in ends.client.data.items()}
    assert sum(sizes.values()) == 100_000
    assert len(sizes) == 4
    assert max(sizes.values()) - min(sizes.values()) <= 16_384

    while any(sizes.values()):
        for stream, size in sizes.items():
            ends.client.codec.consumed(stream, size)
        before = {stream: len(data) for stream, data in ends.client.data.items()}
        ends.talk()
        sizes = {s: len(d) - before[s] for s, d in ends.client.data.items()}
    assert sorted(ends.client.ended) == streams


def test_trailers_wait_for_their_body(ends: Ends) -> None:
    stream = ends.ask()
    ends.server.codec.respond(stream, OK, is_end=False)
    ends.server.codec.send(stream, b"x" * 70_000, is_end=False)
    ends.server.codec.send_trailers(stream, [(b"grpc-status", b"0")])
    ends.talk()
    assert ends.client.trailers == {}

    ends.client.codec.consumed(stream, 65_535)
    ends.talk()
    assert ends.client.trailers == {stream: [(b"grpc-status", b"0")]}
    assert len(ends.client.data[stream]) == 70_000


def test_a_gone_stream_gives_back_what_it_held_of_the_connection(ends: Ends) -> None:
    for _ in range(40):
        stream = ends.ask(is_end=False)
        ends.client.codec.send(stream, b"x" * 50_000, is_end=False)
        ends.talk()
        held = len(ends.server.data[stream])
        assert held == 50_000
        ends.client.codec.reset(stream, h2.CANCEL)
        ends.talk()
        ends.server.codec.consumed(stream, held)
        ends.talk()


def test_what_comes_for_a_stream_that_was_reset_costs_no_window(library: str) -> None:
    ends = with_server(library, h2.Settings())
    for _ in range(40):
        stream = ends.ask(is_end=False)
        ends.server.codec.reset(stream, h2.CANCEL)
        ends.client.codec.send(stream, b"x" * 50_000, is_end=False)
        ends.server.codec.receive(ends.client.codec.take())
        ends.talk()
    assert not ends.server.codec.is_over

    last = ends.ask(is_end=False)
    ends.client.codec.send(last, b"x" * 50_000, is_end=True)
    ends.talk()
    assert len(ends.server.data[last]) == 50_000


def test_padding_gives_its_window_back_by_itself(library: str) -> None:
    server = speaking(library)
    block = hpack.Encoder().encode([*GET])
    server.codec.receive(HeadersFrame(1, block, flags=["END_HEADERS"]).serialize())
    padded = DataFrame(1, b"x", pad_length=255, flags=["PADDED"]).serialize()
    for _ in range(10_000):
        server.codec.receive(padded)
        server.codec.consumed(1, 1)
        server.codec.take()

    assert not server.codec.is_over
    assert len(server.data[1]) == 10_000


def test_the_peers_frames_and_windows_are_kept_as_they_change(library: str) -> None:
    server = speaking(library)
    block = hpack.Encoder().encode([*GET])
    ended = ["END_HEADERS", "END_STREAM"]
    server.codec.receive(
        SettingsFrame(0, settings={4: 10}).serialize()
        + HeadersFrame(1, block, flags=ended).serialize()
    )
    server.codec.respond(1, OK, is_end=False)
    server.codec.send(1, b"x" * 30, is_end=False)
    sent = [each for each in frames(server.codec.take()) if isinstance(each, DataFrame)]
    assert [len(each.data) for each in sent] == [10]

    server.codec.receive(SettingsFrame(0, settings={4: 0}).serialize())
    assert not any(isinstance(f, DataFrame) for f in frames(server.codec.take()))
    server.codec.receive(SettingsFrame(0, settings={4: 20}).serialize())
    sent = [each for each in frames(server.codec.take()) if isinstance(each, DataFrame)]
    assert [len(each.data) for each in sent] == [10]
    assert server.codec.queued(1) == 10


# Resets


@pytest.mark.parametrize("code", [h2.CANCEL, h2.INTERNAL_ERROR, h2.REFUSED_STREAM])
def test_resets_go_both_ways(ends: Ends, code: int) -> None:
    one, two = ends.ask(), ends.ask(is_end=False)
    ends.server.codec.reset(one, code)
    ends.client.codec.reset(two, h2.CANCEL)
    ends.talk()

    assert (one, code, False) in ends.client.closed
    assert (one, code, True) in ends.server.closed
    assert (two, h2.CANCEL, False) in ends.server.closed
    assert (two, h2.CANCEL, True) in ends.client.closed
    assert sorted(each[0] for each in ends.client.closed) == [one, two]
    assert sorted(each[0] for each in ends.server.closed) == [one, two]
    for stream in (one, two):
        with pytest.raises(StreamGone):
            ends.server.codec.respond(stream, OK, is_end=True)
    with pytest.raises(StreamGone):
        ends.client.codec.send(two, b"x", is_end=False)
    ends.server.codec.reset(one, code)  # once more, and nothing comes of it
    assert ends.server.codec.queued(one) == 0
    assert not ends.server.codec.take()


def test_a_reset_drops_what_was_queued(ends: Ends) -> None:
    stream = ends.ask()
    ends.server.codec.respond(stream, OK, is_end=False)
    ends.server.codec.send(stream, b"x" * 200_000, is_end=True)
    ends.talk()
    ends.client.codec.reset(stream, h2.CANCEL)
    ends.talk()

    assert ends.server.closed == [(stream, h2.CANCEL, False)]
    assert ends.server.codec.queued(stream) == 0


def test_a_request_that_is_reset_in_the_same_breath_can_be_answered(
    library: str,
) -> None:
    class Answering(End):
        def on_head(self, stream: int, fields: h2.Fields, is_end: bool) -> None:
            with suppress(StreamGone):
                self.codec.respond(stream, OK, is_end=False)
                self.codec.send(stream, b"x", is_end=True)
            self.codec.reset(stream, h2.CANCEL)

    server = Answering("server", library=library)
    client = End("client", library=library)
    client.codec.open(GET, is_end=False)
    sent = client.codec.take()
    client.codec.reset(1, h2.CANCEL)
    server.codec.receive(sent + client.codec.take())
    server.codec.take()

    assert [each[0] for each in server.closed] == [1]
    assert not server.codec.is_over


def test_a_question_that_is_not_wanted_is_ended_without_an_error(ends: Ends) -> None:
    stream = ends.ask(is_end=False)
    ends.server.codec.respond(stream, OK, is_end=True)
    ends.talk()
    ends.server.codec.reset(stream, h2.NO_ERROR)
    ends.talk()

    assert ends.client.heads == [(stream, OK, True)]
    assert ends.client.closed == ends.server.closed == [(stream, 0, False)]


# The end of a connection


def test_streams_are_opened_up_to_the_peers_limit(library: str) -> None:
    ends = with_server(library, h2.Settings(max_streams=2))
    for _ in range(2):
        assert ends.client.codec.can_open
        ends.ask()

    assert not ends.client.codec.can_open
    assert not ends.client.codec.is_closing
    ends.server.codec.respond(1, OK, is_end=True)
    ends.talk()
    assert ends.client.codec.can_open


def test_streams_over_the_limit_are_refused_while_it_is_not_known(library: str) -> None:
    server = End("server", h2.Settings(max_streams=2), library)
    ends = Ends(End("client", library=library), server)
    for _ in range(4):
        ends.client.codec.open(GET, is_end=False)
    ends.talk()

    assert [stream for stream, _, _ in server.heads] == [1, 3]
    assert ends.client.closed == [
        (5, h2.REFUSED_STREAM, False),
        (7, h2.REFUSED_STREAM, False),
    ]
    assert server.closed == []


def test_a_server_ends_in_two_steps(ends: Ends) -> None:
    ends.ask()
    ends.server.codec.announce_end()
    ends.talk()
    assert ends.client.codec.is_closing
    ends.server.codec.end()
    ends.talk()
    ends.server.codec.respond(1, OK, is_end=False)
    ends.server.codec.send(1, b"x" * 50_000, is_end=False)
    ends.talk()
    assert ends.server.closed == []
    ends.server.codec.send(1, b"x", is_end=True)
    ends.talk()

    assert ends.client.goaways == [(2**31 - 1, 0), (1, 0)]
    assert len(ends.client.data[1]) == 50_001
    assert ends.client.closed == [(1, 0, False)]
    assert ends.server.codec.is_over
    assert ends.client.codec.is_over
    assert not ends.server.codec.failure
    assert not ends.client.codec.failure


def test_streams_on_their_way_are_taken_behind_an_announcement(library: str) -> None:
    ends = with_server(library, h2.Settings())
    ends.server.codec.announce_end()
    goaway = ends.server.codec.take()
    stream = ends.client.codec.open(GET, is_end=True)
    ends.server.codec.receive(ends.client.codec.take())
    ends.client.codec.receive(goaway)
    ends.server.codec.respond(stream, OK, is_end=True)
    ends.talk()

    assert ends.client.heads == [(stream, OK, True)]
    assert ends.client.closed == [(stream, 0, False)]


def test_an_idle_connection_is_over_with_its_goaway(ends: Ends) -> None:
    ends.server.codec.end()
    ends.talk()

    assert ends.server.codec.is_over
    assert ends.client.codec.is_over
    assert ends.client.goaways == [(0, 0)]


def test_what_a_goaway_leaves_out_is_refused_and_nobodys_fault(ends: Ends) -> None:
    first = ends.ask()
    ends.server.codec.end()
    goaway = ends.server.codec.take()
    late = ends.client.codec.open(GET, is_end=True)
    on_its_way = ends.client.codec.take()
    ends.client.codec.receive(goaway)
    ends.server.codec.receive(on_its_way)
    ends.talk()

    assert ends.client.closed == [(late, h2.REFUSED_STREAM, False)]
    assert not ends.client.codec.can_open
    assert [stream for stream, _, _ in ends.server.heads] == [first]
    ends.server.codec.respond(first, OK, is_end=True)
    ends.talk()
    assert ends.client.closed[1:] == [(first, 0, False)]
    assert ends.server.codec.is_over


def test_a_goaway_of_a_client_lets_its_streams_go_on(ends: Ends) -> None:
    stream = ends.ask(is_end=False)
    ends.client.codec.end(h2.INTERNAL_ERROR)
    ends.talk()
    assert ends.server.goaways == [(0, h2.INTERNAL_ERROR)]
    assert ends.server.closed == []
    ends.client.codec.send(stream, b"last", is_end=True)
    ends.server.codec.respond(stream, OK, is_end=True)
    ends.talk()

    assert ends.client.closed == ends.server.closed == [(stream, 0, False)]
    assert ends.client.codec.is_over
    assert ends.server.codec.is_over
    assert ends.client.codec.failure_code == h2.INTERNAL_ERROR


def test_pings_are_answered(ends: Ends) -> None:
    ends.client.codec.ping(b"12345678")
    ends.talk()

    assert ends.client.pongs == [b"12345678"]


@pytest.mark.parametrize("is_allowed", [False, True])
def test_extended_connect_is_announced(library: str, is_allowed: bool) -> None:
    server = End("server", h2.Settings(allows_connect_protocol=is_allowed), library)
    ends = Ends(End("client", library=library), server)
    assert not ends.client.codec.peer_allows_connect_protocol
    ends.talk()

    assert ends.client.codec.peer_allows_connect_protocol == is_allowed


@pytest.mark.parametrize("is_allowed", [False, True])
def test_extended_connect_is_taken_if_it_is_allowed(
    library: str, is_allowed: bool
) -> None:
    server = speaking(library, h2.Settings(allows_connect_protocol=is_allowed))
    fields = [(b":method", b"CONNECT"), *GET[1:], (b":protocol", b"websocket")]
    block = hpack.Encoder().encode(fields)
    server.codec.receive(HeadersFrame(1, block, flags=["END_HEADERS"]).serialize())

    assert bool(server.heads) == is_allowed
    assert not server.codec.is_over


def test_failing_closes_every_stream_once(ends: Ends) -> None:
    ends.ask()
    ends.ask(is_end=False)
    reset = ends.ask()
    ends.server.codec.reset(reset, h2.CANCEL)
    ends.server.codec.fail(h2.ENHANCE_YOUR_CALM, "enough")
    ends.server.codec.fail(h2.ENHANCE_YOUR_CALM, "enough")
    ends.talk()

    assert ends.server.codec.is_over
    assert ends.server.codec.failure == "enough"
    assert ends.server.codec.failure_code == h2.ENHANCE_YOUR_CALM
    assert [each for each in sorted(ends.server.closed) if each[0] != reset] == [
        (1, 11, True),
        (3, 11, True),
    ]
    assert [each[0] for each in ends.server.closed].count(reset) == 1
    assert ends.client.goaways[-1][1] == h2.ENHANCE_YOUR_CALM


def test_nothing_comes_of_what_is_asked_of_a_connection_that_is_over(
    ends: Ends,
) -> None:
    stream = ends.ask()
    codec = ends.server.codec
    codec.fail(h2.INTERNAL_ERROR, "over")
    codec.take()
    codec.ping(b"12345678")
    codec.announce_end()
    codec.end()
    codec.reset(stream, h2.CANCEL)
    codec.consumed(stream, 10)

    assert codec.queued(stream) == 0
    assert codec.take() == b""
    with pytest.raises(StreamGone):
        codec.respond(stream, OK, is_end=True)
    with pytest.raises(StreamGone):
        codec.send(stream, b"x", is_end=True)
    assert not codec.can_open


# What a peer may not do


def speaking(library: str, settings: h2.Settings | None = None) -> End:
    """A server that has heard a client's first bytes."""
    server = End("server", settings or h2.Settings(), library)
    server.codec.receive(PREFACE + SettingsFrame(0).serialize())
    server.codec.receive(SettingsFrame(0, flags=["ACK"]).serialize())
    server.codec.take()
    return server


@pytest.mark.parametrize(
    "fields",
    [
        [*GET, *((b"x-%d" % n, b"y") for n in range(1001))],
        [*GET, (b"x", b"y" * 70_000), (b"z", b"y" * 70_000)],
        [*GET, *[(b"x" * 2000, b"y" * 2000)] * 50],
    ],
    ids=["fields", "bytes", "compressed"],
)
def test_a_head_beyond_all_bounds_ends_the_connection(
    library: str, fields: list[tuple[bytes, bytes]]
) -> None:
    server = speaking(library, h2.Settings(heads=h2.HeadBounds(size=100_000)))
    block = hpack.Encoder().encode(fields)
    parts = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
    sent = [HeadersFrame(1, parts[0]), *(ContinuationFrame(1, p) for p in parts[1:])]
    sent[-1].flags.add("END_HEADERS")
    server.codec.receive(b"".join(each.serialize() for each in sent))

    assert server.codec.is_over
    assert server.heads == []
    assert isinstance(frames(server.codec.take())[-1], GoAwayFrame)


@pytest.mark.parametrize("role", ["server", "client"])
def test_what_ends_the_connection_may_come_with_what_is_good(
    library: str, role: h2.Role
) -> None:
    end = End(role, library=library)
    first, told = (PREFACE, GET) if role == "server" else (b"", OK)
    if role == "client":
        assert end.codec.open(GET, is_end=True) == 1
    end.codec.take()
    block = hpack.Encoder().encode([*told, *((b"x-%d" % n, b"y") for n in range(1001))])
    head = HeadersFrame(1, block, flags=["END_HEADERS"])
    end.codec.receive(first + SettingsFrame(0).serialize() + head.serialize())
    end.codec.ping(b"12345678")
    end.codec.end()

    assert end.codec.is_over
    assert end.codec.failure_code == h2.ENHANCE_YOUR_CALM
    assert end.codec.queued(1) == 0
    assert not end.codec.can_open
    assert end.closed == ([(1, h2.ENHANCE_YOUR_CALM, True)] * (role == "client"))
    assert isinstance(frames(end.codec.take())[-1], GoAwayFrame)


def test_settings_may_come_behind_a_goaway(library: str) -> None:
    ends = with_server(library, h2.Settings())
    ends.ask()
    ends.server.codec.respond(1, OK, is_end=True)
    ends.talk()
    last = GoAwayFrame(0, last_stream_id=0).serialize()
    ends.server.codec.receive(last + SettingsFrame(0, settings={4: 100}).serialize())
    ends.server.codec.ping(b"12345678")
    ends.server.codec.announce_end()
    ends.talk()

    assert ends.server.goaways == [(0, h2.NO_ERROR)]
    assert ends.server.codec.is_closing


def test_what_is_over_a_limit_is_decoded_up_to_twice_of_it() -> None:
    default = h2.HeadBounds()

    assert h2.HeadBounds.above(Http()) == default
    assert h2.HeadBounds.above(
        Http(max_head=400_000, max_headers=3000)
    ) == h2.HeadBounds(size=992_000, fields=6000, continuations=60)


@pytest.mark.parametrize(
    "limits", [Http(max_head=2**63 - 1), Http(max_headers=2**63 - 1)]
)
def test_a_limit_may_be_larger_than_can_be_told(limits: Http, library: str) -> None:
    ends = with_server(library, h2.Settings(heads=h2.HeadBounds.above(limits)))
    ends.client.codec.open(GET, is_end=True)
    ends.talk()

    assert ends.server.heads == [(1, [*GET], True)]


def test_a_long_head_that_is_allowed_is_read(library: str) -> None:
    limits = Http(max_head=400_000, max_headers=3000)
    bounds = h2.HeadBounds.above(limits)
    fields = [*GET, *((b"x-%d" % n, b"y" * 100) for n in range(2900))]
    ends = with_server(library, h2.Settings(heads=bounds))
    ends.client.codec.open(fields, is_end=True)
    ends.talk()

    assert ends.server.heads == [(1, fields, True)]


def test_no_preface_is_no_connection(library: str) -> None:
    server = End("server", library=library)
    server.codec.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert server.codec.is_over
    assert server.codec.failure
    assert isinstance(frames(server.codec.take())[-1], GoAwayFrame)
    assert server.codec.take() == b""


def test_a_mistake_of_the_peers_closes_every_stream_as_ours(library: str) -> None:
    ends = with_server(library, h2.Settings())
    ends.ask()
    ends.ask(is_end=False)
    ends.server.codec.receive(DataFrame(9, b"x").serialize())
    ends.talk()

    assert ends.server.codec.is_over
    assert ends.server.codec.failure_code == h2.PROTOCOL_ERROR
    assert sorted(ends.server.closed) == [(1, 1, True), (3, 1, True)]
    assert ends.client.goaways[-1][1] == h2.PROTOCOL_ERROR
