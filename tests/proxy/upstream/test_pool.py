"""Connections are lent last in, first out; what is stale, old or too many is closed."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.errors import ConnectFailed
from meshfilters.stream import Tls
from proxy.config.model import Service, ServiceProtocol
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.multiplexed import ClientConnection
from proxy.upstream.pool import LONGEST_PENALTY, PENALTY, RELIEF, Pool
from tests.proxy.upstream.bench import PLAIN, Bench, heard, plain
from tests.proxy.upstream.bench import opened as open_one
from tests.proxy.upstream.http2_bench import http2_bench


async def opened(pool: Pool, count: int) -> list[UpstreamConnection]:
    """Connections that have served and are unused, in the order they came back."""
    connections = [await open_one(pool) for _ in range(count)]
    for each in connections:
        each.stream.watch.readable = False  # type: ignore[attr-defined]  # as behind a response
        pool._release(each, True)
    return connections


def state(pool: Pool) -> str:
    return repr(pool).removesuffix(">").partition(": ")[2]


async def test_the_last_one_back_is_lent_first(bench: Bench, clock: object) -> None:
    pool = bench.pool()
    one, other = await opened(pool, 2)
    assert state(pool) == "0 active 2 idle"

    assert pool.take(PLAIN) is other
    assert pool.take(PLAIN) is one
    assert pool.take(PLAIN) is None
    assert state(pool) == "2 active 0 idle"
    assert (pool.opened, pool.reused) == (2, 2)


async def test_a_connection_the_peer_has_closed_is_not_lent(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool()
    one, other = await opened(pool, 2)

    bench.peers[1].close()
    await trio.testing.wait_all_tasks_blocked()

    assert pool.take(PLAIN) is one
    assert repr(other) == "<UpstreamConnection closed>"
    assert state(pool) == "1 active 0 idle"


async def test_nor_is_one_with_bytes_nobody_asked_for(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool()
    await opened(pool, 1)

    await bench.peers[0].send_soon(b"HTTP/1.1 408 Too late\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()

    assert pool.take(PLAIN) is None
    assert state(pool) == "0 active 0 idle"


async def test_what_many_requests_at_a_time_needed_is_kept_for_the_next(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool(size=Service("app", ("127.0.0.1:1",)).pool_size)

    await opened(pool, 1000)

    assert state(pool) == "0 active 1000 idle"


async def test_no_more_are_kept_than_the_size(bench: Bench, clock: object) -> None:
    pool = bench.pool(size=1)

    _, other = await opened(pool, 2)

    assert state(pool) == "0 active 1 idle"
    assert repr(other) == "<UpstreamConnection closed>"


async def test_what_nobody_needs_is_closed_when_it_is_old(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool(size=5, idle=3)
    await opened(pool, 1)
    await trio.sleep(2)
    await opened(pool, 1)

    await trio.sleep(1.5)
    assert state(pool) == "0 active 1 idle"
    await trio.sleep(2)
    assert state(pool) == "0 active 0 idle"


async def test_what_is_old_is_not_closed_all_at_once(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool(size=2 * RELIEF + 1, idle=3)
    await opened(pool, 2 * RELIEF + 1)
    pool._idle_limit = 0
    pool._close_old()
    assert state(pool) == f"0 active {RELIEF + 1} idle"

    await trio.sleep(4)
    assert state(pool) == "0 active 0 idle"


async def test_what_has_gone_is_not_closed_all_at_once(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool(size=RELIEF + 1)
    await opened(pool, RELIEF + 1)
    for peer in bench.peers:
        await peer.send_soon(b"HTTP/1.1 408 Too late\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()

    assert pool.take(PLAIN) is None
    assert state(pool) == "0 active 1 idle"


async def test_the_oldest_are_given_up_where_descriptors_run_out(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool(size=RELIEF + 1)
    connections = await opened(pool, RELIEF + 1)

    assert pool.relieve()
    assert state(pool) == "0 active 1 idle"
    assert pool.take(PLAIN) is connections[-1]
    assert not pool.relieve()


async def test_an_endpoint_that_refuses_is_down_for_longer_each_time(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool()
    downs = []
    for _ in range(9):
        bench.refusals.append(ConnectFailed())
        with pytest.raises(ConnectFailed):
            await pool.open(PLAIN)
        assert pool.is_down
        begun = trio.current_time()
        downs.append(round(pool._down_until - begun, 3))
        await trio.sleep(downs[-1])
        assert not pool.is_down

    assert downs[:3] == [PENALTY, 2 * PENALTY, 4 * PENALTY]
    assert downs[-1] == LONGEST_PENALTY
    assert state(pool) == "0 active 0 idle"


async def test_one_outage_counts_once_however_many_it_refuses(
    bench: Bench, clock: object
) -> None:
    pool = bench.pool()
    for _ in range(50):
        bench.refusals.append(ConnectFailed())
        with pytest.raises(ConnectFailed):
            await pool.open(PLAIN)

    await trio.sleep(PENALTY)

    assert pool.failed == 50
    assert not pool.is_down


async def test_a_connection_ends_the_penalty(bench: Bench, clock: object) -> None:
    pool = bench.pool()
    bench.refusals.append(ConnectFailed())
    with pytest.raises(ConnectFailed):
        await pool.open(PLAIN)

    await pool.open(PLAIN)

    assert not pool.is_down
    assert state(pool) == "1 active 0 idle"


async def test_a_stream_is_in_use_until_it_is_left(bench: Bench, clock: object) -> None:
    pool = bench.pool()
    await pool.open_stream()
    assert state(pool) == "1 active 0 idle"

    pool.leave()

    assert state(pool) == "0 active 0 idle"


async def test_a_closed_pool_keeps_nothing(bench: Bench, clock: object) -> None:
    pool = bench.pool()
    await opened(pool, 2)
    busy = pool.take(PLAIN)
    assert isinstance(busy, UpstreamConnection)
    assert busy is not None

    pool.close()
    assert state(pool) == "1 active 0 idle"
    pool._release(busy, True)

    assert state(pool) == "0 active 0 idle"
    assert repr(busy) == "<UpstreamConnection closed>"


async def test_statistics_say_it_all(bench: Bench, clock: object) -> None:
    pool = bench.pool()
    await opened(pool, 1)

    assert pool.statistics() == {
        "endpoint": "198.51.100.1:80",
        "active": 0,
        "idle": 1,
        "http2": {"connections": 0, "streams": 0, "waiting": 0},
        "opened": 1,
        "reused": 0,
        "failed": 0,
        "down": False,
    }


# Which protocol


def tls(alpn: str | None) -> Tls:
    return Tls("TLSv1.3", "c", alpn, None, None)


@pytest.mark.parametrize(
    ("alpn", "kind"),
    [
        ("tulle/1", ClientConnection),
        ("h2", ClientConnection),
        ("http/1.1", UpstreamConnection),
        (None, UpstreamConnection),
    ],
)
async def test_where_there_is_tls_alpn_decides(
    bench: Bench, clock: object, alpn: str | None, kind: type
) -> None:
    bench.tls = tls(alpn)
    pool = bench.pool()

    for version in ("1.1", "2"):
        assert isinstance(await pool.open(plain(version)), kind)

    assert bench.endpoints[0].alpn is None


async def test_without_tls_requests_stay_what_they_are(
    bench: Bench, clock: object
) -> None:
    async with http2_bench(bench, protocol="auto") as place:
        newer = bench.request()
        newer.exchange.version = "2"
        asking = await place.ask(newer)
        await place.peer.answer(1, body=b"ok")
        place.peers.is_serving = False
        await place.ask(bench.request())

        assert asking.body == b"ok"
        assert (await heard(bench.peers[-1])).startswith(b"GET / HTTP/1.1\r\n")


async def test_an_endpoint_that_knows_no_http2_gets_http1(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench, protocol="auto") as place:
        place.peers.is_serving = False
        request = bench.request()
        request.exchange.version = "2"
        asking = await place.ask(request)
        await bench.peers[0].send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await wait_all_tasks_blocked()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        assert (await heard(bench.peers[1])).startswith(b"GET / HTTP/1.1\r\n")
        await bench.peers[1].send_all(answer)
        await wait_all_tasks_blocked()
        assert asking.body == b"ok"

        again = bench.request()
        again.exchange.version = "2"
        await place.ask(again)
        await bench.peers[1].send_all(answer)
        await wait_all_tasks_blocked()
        assert len(bench.peers) == 2


@pytest.mark.parametrize(
    ("protocol", "offered"),
    [
        ("http1", ("http/1.1",)),
        ("http2", ("tulle/1", "h2")),
        ("grpc", ("tulle/1", "h2")),
    ],
)
async def test_a_told_protocol_is_all_that_is_offered(
    bench: Bench, clock: object, protocol: ServiceProtocol, offered: tuple[str, ...]
) -> None:
    await bench.pool(protocol=protocol).open(plain("2"))

    assert bench.endpoints[0].alpn == offered


async def test_bytes_that_are_no_http_are_offered_as_nothing(
    bench: Bench, clock: object
) -> None:
    await bench.pool().open_stream()

    assert bench.endpoints[0].alpn == ()
