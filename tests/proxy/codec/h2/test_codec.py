"""A codec's contract: what one end says the other is told, and bounds hold."""

from __future__ import annotations

from pathlib import Path
from random import Random

import hpack
import pytest

from proxy.codec import h2
from proxy.codec.h2.codec import PREFACE, StreamGone
from tests.proxy.codec.h2.ends import GET, OK, End, Ends

SEEDS = Path(__file__).parents[5] / "shared" / "data" / "nghttp2-seeds"


@pytest.fixture(params=[False, True], ids=["whole", "bytewise"])
def ends(request: pytest.FixtureRequest) -> Ends:
    ends = Ends(bytewise=request.param)
    ends.talk()
    return ends


def test_a_request_and_its_answer(ends: Ends) -> None:
    stream = ends.ask()
    ends.server.codec.respond(stream, OK, is_end=False)
    ends.server.codec.send(stream, b"ok", is_end=True)
    ends.talk()

    assert ends.server.heads == [(1, GET, True)]
    assert ends.client.heads == [(1, OK, False)]
    assert ends.client.data == {1: b"ok"}
    assert ends.client.closed == ends.server.closed == [(1, h2.NO_ERROR, False)]


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


def test_what_is_not_consumed_is_not_sent(ends: Ends) -> None:
    stream = ends.ask(is_end=False)
    ends.client.codec.send(stream, b"x" * 100_000, is_end=True)
    ends.talk()
    assert len(ends.server.data[1]) == 65_535
    assert ends.client.codec.queued(stream) == 100_000 - 65_535

    ends.server.codec.consumed(stream, 65_535)
    ends.talk()
    assert len(ends.server.data[1]) == 100_000


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


@pytest.mark.parametrize("code", [h2.CANCEL, h2.INTERNAL_ERROR, h2.REFUSED_STREAM])
def test_resets_go_both_ways(ends: Ends, code: int) -> None:
    one, two = ends.ask(), ends.ask(is_end=False)
    ends.server.codec.reset(one, code)
    ends.client.codec.reset(two, h2.CANCEL)
    ends.talk()

    assert (one, code, False) in ends.client.closed
    assert (two, h2.CANCEL, False) in ends.server.closed
    assert sorted(each[0] for each in ends.client.closed) == [one, two]
    with pytest.raises(StreamGone):
        ends.server.codec.respond(one, OK, is_end=True)
    ends.server.codec.reset(one, code)  # once more, and nothing comes of it
    assert ends.server.codec.queued(one) == 0


def test_streams_are_opened_up_to_the_peers_limit() -> None:
    ends = Ends(server=End("server", h2.Settings(max_streams=2)))
    ends.talk()
    for _ in range(2):
        assert ends.client.codec.can_open
        ends.ask()

    assert not ends.client.codec.can_open
    assert not ends.client.codec.is_closing
    ends.server.codec.respond(1, OK, is_end=True)
    ends.talk()
    assert ends.client.codec.can_open


def test_a_server_ends_in_two_steps(ends: Ends) -> None:
    ends.ask()
    ends.server.codec.announce_end()
    ends.talk()
    assert ends.client.codec.is_closing
    ends.server.codec.end()
    ends.talk()
    ends.server.codec.respond(1, OK, is_end=True)
    ends.talk()

    assert ends.client.goaways == [(2**31 - 1, 0), (1, 0)]
    assert ends.client.closed == [(1, 0, False)]
    assert ends.server.codec.is_over


def test_what_a_goaway_leaves_out_is_refused_and_nobodys_fault(ends: Ends) -> None:
    first = ends.ask()
    ends.server.codec.end()
    goaway = ends.server.codec.take()
    late = ends.client.codec.open(GET, is_end=True)
    ends.client.codec.take()
    ends.client.codec.receive(goaway)

    assert ends.client.closed == [(late, h2.REFUSED_STREAM, False)]
    assert not ends.client.codec.can_open
    assert first == 1


def test_pings_are_answered(ends: Ends) -> None:
    ends.client.codec.ping(b"12345678")
    ends.talk()

    assert ends.client.pongs == [b"12345678"]


def test_extended_connect_is_announced() -> None:
    ends = Ends(server=End("server", h2.Settings(allows_connect_protocol=True)))
    assert not ends.client.codec.peer_allows_connect_protocol
    ends.talk()

    assert ends.client.codec.peer_allows_connect_protocol


def test_failing_closes_every_stream_once(ends: Ends) -> None:
    ends.ask()
    ends.ask(is_end=False)
    ends.server.codec.fail(h2.ENHANCE_YOUR_CALM, "enough")
    ends.server.codec.fail(h2.ENHANCE_YOUR_CALM, "enough")
    ends.talk()

    assert ends.server.codec.is_over
    assert ends.server.codec.failure == "enough"
    assert sorted(ends.server.closed) == [(1, 11, True), (3, 11, True)]
    assert ends.client.goaways[-1][1] == h2.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    "fields",
    [
        [*GET, *((b"x-%d" % n, b"y") for n in range(1001))],
        [*GET, (b"x", b"y" * 70_000), (b"z", b"y" * 70_000)],
    ],
    ids=["fields", "bytes"],
)
def test_a_head_beyond_all_bounds_ends_the_connection(
    fields: list[tuple[bytes, bytes]],
) -> None:
    server = End("server", h2.Settings(max_header_list=100_000))
    ends = Ends(server=server)
    ends.talk()
    block = hpack.Encoder().encode(fields)
    frames = b""
    for start in range(0, len(block), 16_384):
        part = block[start : start + 16_384]
        kind = b"\x01" if not start else b"\x09"
        flags = b"\x04" if start + 16_384 >= len(block) else b"\x00"
        frames += (
            len(part).to_bytes(3, "big") + kind + flags + b"\x00\x00\x00\x01" + part
        )
    server.codec.receive(frames)

    assert server.codec.is_over
    assert server.codec.take()[3] == 7  # GOAWAY


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the seeds are not here")
def test_the_seeds_of_a_fuzzer_harm_nothing() -> None:
    random = Random(9)
    for seed in sorted(each for each in SEEDS.rglob("*") if each.is_file()):
        data = seed.read_bytes()
        for cut in (len(data), *(random.randrange(len(data) + 1) for _ in range(3))):
            for start in (b"", PREFACE):
                server = End("server")
                server.codec.receive((start + data)[:cut] or b"\x00")
                server.codec.take()
                if not server.codec.is_over:
                    server.codec.receive((start + data)[cut:] or b"\x00")
                assert len(server.codec.take()) < 100_000
