"""Exchanges share a connection to an endpoint and fail alone; nothing is sent twice."""

from __future__ import annotations

from random import Random

import attrs
import hpack
import pytest
import trio
from hyperframe.frame import HeadersFrame, PingFrame
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.errors import (
    AttemptTimeout,
    ClientGone,
    DeadlineExceeded,
    FilterFailed,
    UpstreamProtocolError,
    UpstreamReset,
)
from meshfilters.exchange import Limits
from meshfilters.message import Buffered, Headers
from meshfilters.stream import Tls
from meshfilters.testing import Chunks
from proxy.codec import h2
from proxy.codec.h1.wire import HeadLimits
from proxy.config.model import Http2
from proxy.transport.http2.channel import HIGH
from proxy.upstream import multiplexed
from proxy.upstream.connection import EARLY
from proxy.upstream.forward import KEPT, PAUSES
from tests.proxy.codec.h2.ends import frames
from tests.proxy.upstream.bench import Bench
from tests.proxy.upstream.http2_bench import http2_bench


async def test_requests_share_a_connection(bench: Bench, clock: MockClock) -> None:
    async with http2_bench(bench) as place:
        one = await place.ask(bench.request())
        two = await place.ask(bench.request(b"POST", Buffered(b"payload")))
        assert repr(place.pool) == "<Pool api 192.0.2.1:80: 2 active 0 idle>"
        await place.peer.answer(3, body=b"two")
        await place.peer.answer(1, b"204")

        assert len(place.peers.peers) == 1
        assert one.response is not None
        assert one.response.status == 204
        assert (two.body, place.asked().data) == (b"two", b"payload")
        assert place.pool.active == 0


async def test_the_head_says_what_the_request_does(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        await place.ask(bench.request(b"POST", Buffered(b"x"), (b"X-Some", b"Thing")))

        assert place.asked().fields == [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"api.test"),
            (b":path", b"/"),
            (b"x-some", b"Thing"),
            (b"content-length", b"1"),
        ]


async def test_bodies_and_trailers_go_both_ways(bench: Bench, clock: MockClock) -> None:
    async with http2_bench(bench) as place:
        body = Chunks(b"1", b"2", trailers=Headers([(b"X-Sum", b"3")]))
        asking = await place.ask(bench.request(b"POST", body))
        codec = place.peer.codec
        codec.respond(1, [(b":status", b"200")], is_end=False)
        codec.send(1, b"an", is_end=False)
        await place.peer.turn()
        codec.send(1, b"swer", is_end=False)
        codec.send_trailers(1, [(b"grpc-status", b"0")])
        await place.peer.turn()

        assert place.asked().data == b"12"
        assert place.asked().trailers == [(b"x-sum", b"3")]
        assert asking.body == b"answer"
        assert asking.trailers == Headers([(b"grpc-status", b"0")])


async def test_a_response_that_is_all_here_needs_no_wait(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(), reads=False)
        codec = place.peer.codec
        codec.respond(1, [(b":status", b"200")], is_end=False)
        codec.send(1, b"ok", is_end=False)
        codec.send_trailers(1, [(b"grpc-status", b"5")])
        await place.peer.turn()

        assert asking.response is not None
        body = asking.response.body
        assert isinstance(body, Buffered)
        assert body.data == b"ok"
        assert body.trailers.get(b"grpc-status") == b"5"


async def test_informational_responses_reach_the_client(
    bench: Bench, clock: MockClock
) -> None:
    told: list[int] = []

    async def tell(status: int, headers: Headers) -> None:
        told.append(status)

    async with http2_bench(bench) as place:
        request = bench.request()
        request.exchange.informational = tell
        asking = await place.ask(request)
        for status in (b"100", b"103"):
            place.peer.codec.respond(1, [(b":status", status)], is_end=False)
            await place.peer.turn()
        await place.peer.answer(1)

        assert told == [103]
        assert asking.is_over


async def test_too_many_informational_responses_are_an_attack(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request())
        for _ in range(18):
            place.peer.codec.respond(1, [(b":status", b"103")], is_end=False)
        await place.peer.turn()

        assert isinstance(asking.error, UpstreamProtocolError)
        assert place.asked().code == h2.CANCEL


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The statuses of the heads that are looked at."""
    read: list[bytes] = []

    def read_response(
        fields: h2.Fields, is_end: bool, method: bytes, limits: HeadLimits
    ) -> h2.ResponseHead:
        read.append(fields[0][1])
        return actual(fields, is_end, method, limits)

    actual = h2.read_response
    monkeypatch.setattr(h2, "read_response", read_response)
    return read


@pytest.mark.parametrize(
    ("fields", "count"),
    [([], EARLY + 1), ([(b"content_length", b"1")], 1)],  # the library lets it pass
    ids=["too many", "malformed"],
)
async def test_no_more_informational_responses_are_read_than_are_of_use(
    bench: Bench,
    clock: MockClock,
    heads: list[bytes],
    fields: list[tuple[bytes, bytes]],
    count: int,
) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request())
        for _ in range(1000):
            place.peer.codec.respond(1, [(b":status", b"103"), *fields], is_end=False)
        await place.peer.turn()

        assert isinstance(asking.error, UpstreamProtocolError)
        assert heads == [b"103"] * count


# Sent again


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_what_was_refused_is_sent_again_whatever_the_method(
    bench: Bench, clock: MockClock, method: bytes
) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(method, Buffered(b"x")))
        place.peer.codec.reset(1, h2.REFUSED_STREAM)
        await place.peer.turn()
        assert not asking.is_over
        await place.peer.answer(3, body=b"ok")

        assert asking.body == b"ok"


async def test_a_body_that_streams_past_is_sent_again(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        body = Chunks(b"1", b"2", trailers=Headers([(b"x-sum", b"3")]))
        asking = await place.ask(bench.request(b"POST", body))
        place.peer.codec.reset(1, h2.REFUSED_STREAM)
        await place.peer.turn()
        await place.peer.answer(3, body=b"ok")

        assert asking.body == b"ok"
        assert place.asked(1).data == b"12"
        assert place.asked(1).trailers == [(b"x-sum", b"3")]


@pytest.mark.parametrize(
    ("size", "code"), [(KEPT + 1, h2.REFUSED_STREAM), (KEPT, h2.CANCEL)]
)
async def test_a_body_that_is_too_long_or_taken_is_not_sent_again(
    bench: Bench, clock: MockClock, size: int, code: int
) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(b"POST", Chunks(b"x" * size)))
        place.peer.codec.reset(1, code)
        await place.peer.turn()

        assert isinstance(asking.error, UpstreamReset)
        assert len(place.peer.asked) == 1


async def test_refusing_for_ever_is_an_error(bench: Bench, clock: MockClock) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(b"POST"))
        for stream in range(1, 2 * len(PAUSES) + 2, 2):
            await trio.sleep(2 * max(PAUSES))
            place.peer.codec.reset(stream, h2.REFUSED_STREAM)
            await place.peer.turn()

        assert isinstance(asking.error, UpstreamReset)
        assert not asking.error.sent
        assert len(place.peer.asked) == len(PAUSES) + 1


async def test_what_a_goaway_left_out_goes_to_another_connection(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        begun = await place.ask(bench.request(b"POST", Buffered(b"a")))
        first = place.peer
        # The peer has seen stream 1 alone when it says good-bye.
        first.codec.end()
        goaway = first.codec.take()
        left_out = await place.ask(bench.request(b"POST", Buffered(b"b")))
        await first.stream.send_all(goaway)
        await wait_all_tasks_blocked()
        assert len(place.peers.peers) == 2
        await place.peer.answer(1, body=b"elsewhere")
        await first.answer(1, body=b"finished")

        assert begun.body == b"finished"
        assert left_out.body == b"elsewhere"
        assert place.asked().data == b"b"


async def test_a_request_that_raced_the_end_is_repeated_if_it_is_safe(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        await place.ask(bench.request())
        await place.peer.answer(1)
        safe = await place.ask(bench.request())
        unsafe = await place.ask(bench.request(b"POST", Buffered(b"x")))
        place.peer.stream.close()
        await wait_all_tasks_blocked()
        await place.peer.answer(1, body=b"ok")

        assert safe.body == b"ok"
        assert isinstance(unsafe.error, UpstreamReset)
        assert unsafe.error.sent


# Resets and mistakes


async def test_a_reset_is_passed_on_with_its_reason(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        one = await place.ask(bench.request())
        other = await place.ask(bench.request())
        place.peer.codec.reset(1, h2.ENHANCE_YOUR_CALM)
        await place.peer.turn()
        await place.peer.answer(3, body=b"ok")

        assert isinstance(one.error, UpstreamReset)
        assert one.error.reset == h2.ENHANCE_YOUR_CALM
        assert other.body == b"ok"


async def test_a_response_cut_short_is_an_error(bench: Bench, clock: MockClock) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request())
        place.peer.codec.respond(1, [(b":status", b"200")], is_end=False)
        place.peer.codec.send(1, b"half", is_end=False)
        await place.peer.turn()
        place.peer.codec.reset(1, h2.INTERNAL_ERROR)
        await place.peer.turn()

        assert asking.response is not None
        assert isinstance(asking.error, UpstreamReset)


@pytest.mark.parametrize(
    "fields",
    [
        [(b":status", b"2x0")],
        [(b":status", b"101")],
        [(b":status", b"200"), (b"transfer-encoding", b"chunked")],
        [(b":status", b"200"), (b"connection", b"close")],
        [(b":status", b"200"), (b"x", b"a\nb")],
        [(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"2")],
        [(b":status", b"200"), (b"transfer_encoding", b"chunked")],
    ],
)
async def test_a_bad_head_is_an_error_of_its_stream_alone(
    bench: Bench, clock: MockClock, fields: list[tuple[bytes, bytes]]
) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request())
        # Not by the peer's codec, which leaves out or refuses what is wrong.
        block = hpack.Encoder().encode(fields)
        head = HeadersFrame(1, block, flags=["END_HEADERS"])
        await place.peer.stream.send_all(head.serialize())
        await wait_all_tasks_blocked()

        assert isinstance(asking.error, UpstreamProtocolError)
        assert asking.error.status == 502


async def test_bytes_that_are_no_http2_fail_every_exchange(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        one = await place.ask(bench.request(b"POST"))
        two = await place.ask(bench.request(b"POST"))
        await place.peer.stream.send_all(b"\x00\x00\x00\x09\x00\x00\x00\x00\x00" * 9)
        await wait_all_tasks_blocked()

        assert one.error is not None
        assert two.error is not None
        assert place.pool.active == 0
        assert place.peer.has_ended


async def test_a_bad_request_of_a_filters_is_not_sent(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(b"GET", Buffered(b""), (b"x", b"a\rb")))

        assert isinstance(asking.error, FilterFailed)
        assert place.pool.active == 0


# Giving up


async def test_a_client_that_goes_resets_its_stream_alone(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        gone = await place.ask(bench.request())
        other = await place.ask(bench.request())
        gone.request.exchange.cancel(ClientGone())
        await place.peer.turn()
        await place.peer.answer(3, body=b"ok")

        assert place.peer.asked[1].code == h2.CANCEL
        assert other.body == b"ok"
        assert place.pool.active == 0


async def test_a_response_nobody_wants_is_reset(bench: Bench, clock: MockClock) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(), reads=False)
        place.peer.codec.respond(1, [(b":status", b"200")], is_end=False)
        await place.peer.turn()
        assert asking.response is not None
        await asking.response.body.aclose()
        await place.peer.turn()

        assert place.asked().code == h2.CANCEL


async def test_an_early_answer_ends_the_request(bench: Bench, clock: MockClock) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(b"POST", _Endless()))
        await place.peer.answer(1, b"413", body=b"too much")

        assert asking.body == b"too much"
        assert place.asked().code is not None
        assert not place.asked().is_ended


@attrs.define(eq=False)
class _Endless:
    """A body whose client sends one chunk and stops."""

    length: int | None = None
    trailers: Headers = attrs.field(factory=Headers)
    chunks: list[bytes] = attrs.field(factory=lambda: [b"x"])

    async def receive(self) -> bytes:
        if self.chunks:
            return self.chunks.pop()
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        (Limits(attempt=2.0), AttemptTimeout),
        (Limits(head=2.0), DeadlineExceeded),
    ],
)
async def test_time_limits_end_an_attempt(
    bench: Bench, clock: MockClock, limits: Limits, error: type[Exception]
) -> None:
    async with http2_bench(bench, http2=Http2(ping_interval=None)) as place:
        asking = await place.ask(bench.request(limits=limits))
        clock.jump(3)
        await place.peer.turn()
        await place.peer.turn()

        assert isinstance(asking.error, error)
        assert place.asked().code == h2.CANCEL


# Back-pressure


async def test_a_slow_endpoint_holds_the_request_back(
    bench: Bench, clock: MockClock
) -> None:
    body = Chunks(*[b"x" * 10_000] * 60)
    async with http2_bench(bench) as place:
        place.peers.consumes = False
        asking = await place.ask(bench.request(b"POST", body))
        await place.peer.turn()
        came = len(place.asked().data)
        assert came == 65_535
        # Beyond what came, only what a sender may queue has been taken off the client.
        assert body.received * 10_000 <= came + HIGH + 10_000

        place.peer.consumes = True
        place.peer.codec.consumed(1, came)
        while not place.asked().is_ended:
            await place.peer.turn()
        await place.peer.answer(1)
        assert len(place.asked().data) == 600_000
        assert asking.is_over


async def test_a_response_nobody_reads_stops_at_its_window(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(), reads=False)
        codec = place.peer.codec
        codec.respond(1, [(b":status", b"200")], is_end=False)
        codec.send(1, b"x" * 200_000, is_end=True)
        await place.peer.turn()
        await place.peer.turn()

        assert codec.queued(1) == 200_000 - 65_535
        assert asking.response is not None
        received = 0
        while chunk := await asking.response.body.receive():
            received += len(chunk)
            await place.peer.turn()
        assert received == 200_000


# Connections


async def test_a_full_connection_leads_to_another(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench, settings=h2.Settings(max_streams=2)) as place:
        asked = [await place.ask(bench.request()) for _ in range(5)]

        assert [len(each.asked) for each in place.peers.peers] == [2, 2, 1]
        for peer in place.peers.peers:
            for stream in list(peer.asked):
                await peer.answer(stream)
        assert all(each.is_over and each.error is None for each in asked)


async def test_a_burst_is_not_refused_for_coming_before_the_settings(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench, settings=h2.Settings(max_streams=2)) as place:
        async with trio.open_nursery() as nursery:
            for _ in range(7):
                nursery.start_soon(place.ask, bench.request(b"POST", Chunks(b"x")))
        for _ in range(20):  # bytes in a socket keep no task busy
            await place.peer.turn()

        peers = place.peers.peers
        assert [len(each.asked) for each in peers] == [2, 2, 2, 1]
        assert {each.code for peer in peers for each in peer.asked.values()} == {None}


async def test_who_leaves_before_the_settings_leaves_the_connection_to_others(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        place.peers.is_serving = False
        gone = await place.ask(bench.request())
        gone.scope.cancel()
        await wait_all_tasks_blocked()
        assert place.pool.active == 0
        place.peers.is_serving = True
        one = await place.ask(bench.request())
        await place.peer.answer(1)

        assert one.error is None


async def test_a_connection_that_is_old_is_left(bench: Bench, clock: MockClock) -> None:
    http2 = Http2(max_age=100.0, ping_interval=None)
    async with http2_bench(bench, http2=http2) as place:
        one = await place.ask(bench.request())
        old = place.peer
        clock.jump(111)
        await old.turn()
        two = await place.ask(bench.request())

        assert old.goaways == [(0, h2.NO_ERROR)]
        assert len(place.peers.peers) == 2
        await old.answer(1, body=b"one")
        await place.peer.answer(1, body=b"two")
        await old.turn()
        assert (one.body, two.body) == (b"one", b"two")
        assert old.has_ended


async def test_connections_opened_together_are_not_left_together(
    bench: Bench, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplexed, "random", Random(1).random)
    http2 = Http2(max_age=100.0, ping_interval=None)
    one_each = h2.Settings(max_streams=1)
    async with http2_bench(bench, settings=one_each, http2=http2) as place:
        for _ in range(10):
            await place.ask(bench.request())
        kept = []
        for seconds in (89.9, 5, 10, 5.2):
            clock.jump(seconds)
            await wait_all_tasks_blocked()
            state = place.pool.statistics()["http2"]
            assert isinstance(state, dict)
            kept.append(state["connections"])

        # Ten percent either way, and each of its own.
        assert kept == [10, 7, 3, 0]


async def test_a_silent_endpoint_is_given_up(bench: Bench, clock: MockClock) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(b"POST"))
        place.peer.flush = trio.lowlevel.checkpoint  # type: ignore[method-assign]
        place.peer.codec.take()
        clock.jump(9.9)
        await wait_all_tasks_blocked()
        assert place.peer.codec.take() == b""
        clock.jump(0.2)
        await wait_all_tasks_blocked()
        assert [type(each) for each in frames(place.peer.codec.take())] == [PingFrame]
        clock.jump(2.8)
        await wait_all_tasks_blocked()
        assert not asking.is_over
        clock.jump(0.3)
        await wait_all_tasks_blocked()

        assert isinstance(asking.error, UpstreamReset)
        assert "PING" in str(asking.error)


async def test_an_endpoint_that_answers_pings_is_kept(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(b"POST"))
        for _ in range(5):
            clock.jump(10.1)
            await place.peer.turn()
        await place.peer.answer(1, body=b"late")

        assert asking.body == b"late"


async def test_http1_requests_between_sidecars_say_what_they_were(
    bench: Bench, clock: MockClock
) -> None:
    bench.tls = Tls("TLSv1.3", "c", "tulle/1", None, None)
    async with http2_bench(bench, protocol="auto") as place:
        old = bench.request()
        old.exchange.version = "1.0"
        new = bench.request()
        new.exchange.version = "2"
        for request in (bench.request(), old, new):
            await place.ask(request)

        told = [each[b"tulle-orig-proto"] for each in place.peer.asked.values()]
        assert told == [b"HTTP/1.1", b"HTTP/1.0", None]


async def test_its_state_shows(bench: Bench, clock: MockClock) -> None:
    async with http2_bench(bench) as place:
        await place.ask(bench.request())
        shared = place.pool.take(bench.request())

        assert repr(shared) == "<ClientConnection open: 1 streams>"
        assert place.pool.statistics()["http2"] == {
            "connections": 1,
            "streams": 1,
            "waiting": 0,
        }
