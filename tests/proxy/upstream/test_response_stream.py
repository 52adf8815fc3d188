"""One attempt's stream: the head is waited for, and what is dropped is given up."""

from __future__ import annotations

from trio.testing import MockClock

from meshfilters.message import Buffered
from meshfilters.testing import Chunks
from proxy.codec import h2
from proxy.upstream.response_stream import ResponseStream
from tests.proxy.upstream.bench import Bench
from tests.proxy.upstream.http2_bench import http2_bench


async def test_the_attempt_ends_with_the_last_byte(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(), reads=False)
        attempt = asking.request.exchange.attempts[0]
        place.peer.codec.respond(1, [(b":status", b"200")], is_end=False)
        await place.peer.turn()
        told = (attempt.head is not None, attempt.ended is not None)
        place.peer.codec.send(1, b"x", is_end=True)
        await place.peer.turn()
        assert asking.response is not None
        assert await asking.response.body.receive() == b"x"
        assert await asking.response.body.receive() == b""

        assert told == (True, False)
        assert attempt.ended is not None
        assert attempt.status == 200


async def test_a_dropped_response_is_given_up(bench: Bench, clock: MockClock) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(), reads=False)
        place.peer.codec.respond(1, [(b":status", b"200")], is_end=False)
        await place.peer.turn()
        give_up = asking.request.exchange.attempts[0].give_up
        assert give_up is not None

        assert give_up()
        await place.peer.turn()
        assert place.asked().code == h2.CANCEL
        assert not give_up()


async def test_a_body_that_fails_fails_its_exchange(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        too_long = Chunks(b"12345", b"678", length=6)
        asking = await place.ask(bench.request(b"POST", too_long))
        await place.peer.turn()

        assert "longer than its length" in str(asking.error)
        assert place.asked().code == h2.CANCEL


async def test_a_told_length_is_the_bodys(bench: Bench, clock: MockClock) -> None:
    async with http2_bench(bench) as place:
        asking = await place.ask(bench.request(b"POST", Buffered(b"x")), reads=False)
        fields = [(b":status", b"200"), (b"content-length", b"5")]
        place.peer.codec.respond(1, fields, is_end=False)
        await place.peer.turn()

        assert asking.response is not None
        body = asking.response.body
        assert isinstance(body, ResponseStream)
        assert body.length == 5
        assert repr(body) == "<ResponseStream 1: open>"
