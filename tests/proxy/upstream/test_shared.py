"""Whoever finds no room waits for it, in a queue that has an end."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.errors import ConnectFailed, Overloaded
from proxy.codec import h2
from proxy.upstream import shared
from proxy.upstream.shared import Shared
from tests.proxy.upstream.bench import Bench
from tests.proxy.upstream.http2_bench import http2_bench


async def test_requests_at_once_open_one_connection(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(place.ask, bench.request())

        assert len(place.peers.peers) == 1
        assert len(place.peer.asked) == 20


async def test_with_every_connection_full_requests_wait(
    bench: Bench, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "LARGEST", 1)
    async with http2_bench(bench, settings=h2.Settings(max_streams=1)) as place:
        one = await place.ask(bench.request())
        await place.peer.turn()
        two = await place.ask(bench.request(b"POST"))
        assert place.pool.statistics()["http2"] == {
            "connections": 1,
            "streams": 1,
            "waiting": 1,
        }
        await place.peer.answer(1)
        await place.peer.answer(3, body=b"at last")

        assert one.error is None
        assert two.body == b"at last"
        assert len(place.peers.peers) == 1


async def test_the_queue_has_an_end(
    bench: Bench, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "LARGEST", 1)
    monkeypatch.setattr(shared, "QUEUE", 1)
    async with http2_bench(bench, settings=h2.Settings(max_streams=1)) as place:
        await place.ask(bench.request())
        await place.peer.turn()
        waiting = await place.ask(bench.request())
        refused = await place.ask(bench.request())

        assert not waiting.is_over
        assert isinstance(refused.error, Overloaded)


async def test_who_waits_for_a_dial_learns_that_it_failed(
    bench: Bench, clock: MockClock
) -> None:
    bench.refusals.append(ConnectFailed("nobody there"))
    async with http2_bench(bench) as place:
        errors: list[Exception | None] = []

        async def ask() -> None:
            errors.append((await place.ask(bench.request())).error)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)

        assert [str(each) for each in errors] == ["nobody there"] * 3
        assert all(type(each) is ConnectFailed for each in errors)
        assert place.pool.active == 0
        again = await place.ask(bench.request())
        await place.peer.answer(1, body=b"ok")
        assert again.body == b"ok"


async def test_a_waiter_that_is_cancelled_leaves_the_queue(clock: MockClock) -> None:
    connections = Shared("api")
    started = trio.Event()

    async def open_one() -> str:
        started.set()
        await trio.sleep(5)
        return "opened"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connections.opened, open_one)
        await started.wait()
        with trio.move_on_after(1):
            await connections.opened(open_one)
        await wait_all_tasks_blocked()

        assert connections.statistics()["waiting"] == 0


def granting(streams: int) -> bytes:
    """SETTINGS with MAX_CONCURRENT_STREAMS."""
    return b"\0\0\6\4\0\0\0\0\0\0\3" + streams.to_bytes(4, "big")


async def test_an_endpoint_that_grants_no_streams_is_waited_for(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        place.peers.is_serving = False
        for _ in range(3):
            await place.ask(bench.request())
        await bench.peers[0].send_all(granting(0))
        await wait_all_tasks_blocked()

        state = {"connections": 1, "streams": 0, "waiting": 3}
        assert place.pool.statistics()["http2"] == state
        assert (place.pool.active, len(bench.peers)) == (0, 1)
        await bench.peers[0].send_all(granting(3))
        await wait_all_tasks_blocked()

        state = {"connections": 1, "streams": 3, "waiting": 0}
        assert place.pool.statistics()["http2"] == state


async def test_a_dial_that_failed_long_ago_is_not_told_to_who_waits_for_room(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench) as place:
        place.peers.is_serving = False
        one = await place.ask(bench.request())
        await bench.peers[0].send_all(granting(1))
        await wait_all_tasks_blocked()
        bench.refusals.append(ConnectFailed("nobody there"))
        two = await place.ask(bench.request())
        one.scope.cancel()
        await bench.peers[0].send_all(granting(0))
        await wait_all_tasks_blocked()
        three = await place.ask(bench.request())
        assert place.pool.statistics()["http2"]["waiting"] == 1  # type: ignore[index]  # a dict
        await bench.peers[0].send_all(granting(1))
        await wait_all_tasks_blocked()

        assert str(two.error) == "nobody there"
        assert three.error is None
        assert place.pool.statistics()["http2"]["streams"] == 1  # type: ignore[index]  # a dict
