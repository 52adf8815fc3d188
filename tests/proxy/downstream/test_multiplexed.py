"""One client's connection: what it is granted, how it ends, what it is cut for."""

from __future__ import annotations

from random import Random

import pytest
import trio
from hyperframe.frame import PingFrame
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.errors import ClientGone
from meshfilters.message import Buffered, Request, Response
from meshfilters.testing import read
from proxy.codec import h2
from proxy.config.model import Http as HttpLimits
from proxy.config.model import Http2
from proxy.downstream import multiplexed
from proxy.downstream.multiplexed import (
    LANES_KEPT,
    MOMENT,
    PREMATURE,
    ServerConnection,
)
from tests.proxy.codec.h2.ends import frames
from tests.proxy.downstream.http2_served import GET, POST, Answer, http2_served


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def ok(request: Request, /) -> Response:
    return Response(200, body=Buffered(b"ok"))


class Held:
    """A service that answers when told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.go = trio.Event()

    async def __call__(self, request: Request, /) -> Response:
        self.asked.append(request)
        await self.go.wait()
        return Response(200, body=Buffered(request.target))


@pytest.mark.parametrize("sockets", [False, True])
async def test_streams_are_served_side_by_side(clock: MockClock, sockets: bool) -> None:
    held = Held()
    async with http2_served(held, sockets=sockets) as (served, client):
        answers = [
            await client.ask((*GET[:3], (b":path", b"/%d" % n))) for n in range(5)
        ]
        assert len(held.asked) == 5
        held.go.set()
        await client.turn()

        assert [each.data for each in answers] == [b"/0", b"/1", b"/2", b"/3", b"/4"]
        assert [each.code for each in answers] == [0] * 5
        assert [each.status for each in served.outcomes] == [200] * 5


async def test_a_client_that_resets_ends_its_exchange_alone(clock: MockClock) -> None:
    held = Held()
    async with http2_served(held) as (served, client):
        await client.ask()
        other = await client.ask()
        client.codec.reset(1, h2.CANCEL)
        await client.turn()
        assert [type(each.error) for each in served.outcomes] == [ClientGone]
        held.go.set()
        await client.turn()

        assert other.status == 200


async def test_a_client_that_goes_ends_them_all(clock: MockClock) -> None:
    async with http2_served(Held()) as (served, client):
        await client.ask()
        await client.ask(POST, is_end=False)
        await client.stream.aclose()
        await wait_all_tasks_blocked()

        assert len(served.outcomes) == 2
        assert client.session.is_over


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([*GET, *[(b"x", b"y")] * 101], 431),
        ([*GET[:3], (b":path", b"/" + b"x" * 20_000)], 414),
        (
            [(b":method", b"CONNECT"), *GET[1:], (b":protocol", b"connect-udp")],
            501,
        ),
    ],
)
async def test_too_much_is_answered_before_any_filter(
    clock: MockClock, fields: list[tuple[bytes, bytes]], status: int
) -> None:
    async with http2_served(ok) as (served, client):
        answer = await client.ask(fields)

        assert answer.status == status
        assert answer[b"tulle-error"] == b"bad request; by=proxy"
        assert (served.refusals, served.outcomes) == ([status], [])
        assert (await client.ask()).data == b"ok"


async def test_limits_that_are_raised_are_raised_for_http2_too(
    clock: MockClock,
) -> None:
    limits = HttpLimits(max_head=400_000, max_headers=3000)
    large = [(b"x-%d" % n, b"y" * 120) for n in range(2900)]
    async with http2_served(ok, limits=limits) as (served, client):
        assert (await client.ask([*GET, *large])).data == b"ok"
        answer = await client.ask([*GET, *large, *large[:200]])

    assert answer.status == 431
    assert served.refusals == [431]


async def test_a_head_that_is_none_resets_its_stream(clock: MockClock) -> None:
    async with http2_served(ok) as (served, client):
        # Both libraries take it: at a head that it refuses, h2 ends the connection.
        answer = await client.ask([*GET, (b"transfer_encoding", b"chunked")])

        assert answer.code == h2.PROTOCOL_ERROR
        assert (served.refusals, served.outcomes) == ([400], [])
        assert (await client.ask()).data == b"ok"


@pytest.fixture
def still() -> MockClock:
    """A clock that does not move: everything happens at once."""
    return MockClock()


async def test_streams_reset_before_their_answers_cut_the_client(
    still: MockClock,
) -> None:
    held = Held()
    async with http2_served(held) as (_, client):
        for _ in range(PREMATURE + 1):
            stream = client.codec.open([*GET], is_end=True)
            client.answers[stream] = Answer()
            await client._flush()
            client.codec.reset(stream, h2.CANCEL)
            await client._flush()
        await client.turn()

        assert client.goaways[-1][1] == h2.ENHANCE_YOUR_CALM
        assert len(held.asked) <= PREMATURE
        assert client.session.is_over


async def test_a_drain_takes_what_is_on_its_way(clock: MockClock) -> None:
    held = Held()
    async with http2_served(held) as (served, client):
        under_way = await client.ask()
        # It is on its way when the proxy begins to end.
        late = client.codec.open([*GET], is_end=True)
        client.answers[late] = answer = Answer()
        served.http.drain()
        await client.turn()
        assert client.goaways == [(2**31 - 1, 0)]
        clock.jump(MOMENT + 0.1)
        await client.turn()
        assert client.goaways[-1] == (late, 0)
        assert not client.session.is_over
        held.go.set()
        await client.turn()

        assert (under_way.status, answer.status) == (200, 200)
        assert client.session.is_over


async def test_an_unused_connection_is_closed(clock: MockClock) -> None:
    limits = HttpLimits(keep_alive=20.0)
    async with http2_served(ok, limits=limits) as (_, client):
        await client.ask()
        clock.jump(19)
        await client.turn()
        assert client.goaways == []
        clock.jump(1.1)
        await client.turn()

        assert client.goaways == [(1, 0)]
        assert client.session.is_over


async def test_an_old_connection_is_ended_in_order(clock: MockClock) -> None:
    held = Held()
    http2 = Http2(max_age=100.0, ping_interval=None)
    limits = HttpLimits(stall_timeout=1000.0)
    async with http2_served(held, limits=limits, http2=http2) as (_, client):
        answer = await client.ask()
        clock.jump(111)
        await client.turn()
        clock.jump(MOMENT + 0.1)
        await client.turn()
        assert len(client.goaways) == 2
        held.go.set()
        await client.turn()

        assert answer.status == 200
        assert client.session.is_over


async def test_connections_opened_together_do_not_end_together(
    clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplexed, "random", Random(1).random)
    http2 = Http2(max_age=100.0, ping_interval=None)
    limits = HttpLimits(keep_alive=1000.0)
    ages = []
    for _ in range(10):
        async with http2_served(ok, limits=limits, http2=http2) as (_, client):
            began = trio.current_time()
            clock.jump(89)
            await client.turn()
            while not client.goaways:
                clock.jump(1)
                await client.turn()
            ages.append(trio.current_time() - began)

    # Ten percent either way, and each of its own.
    assert 90 < min(ages) < 95
    assert 105 < max(ages) <= 110
    assert len({round(each) for each in ages}) > 5


async def test_a_silent_client_is_given_up(clock: MockClock) -> None:
    async with http2_served(Held(), http2=Http2()) as (served, client):
        await client.ask()
        client._flush = trio.lowlevel.checkpoint  # type: ignore[method-assign]
        clock.jump(9.9)
        await wait_all_tasks_blocked()
        assert client.codec.take() == b""
        clock.jump(0.2)
        await wait_all_tasks_blocked()
        assert [type(each) for each in frames(client.codec.take())] == [PingFrame]
        clock.jump(2.8)
        await wait_all_tasks_blocked()
        assert not served.outcomes
        clock.jump(0.3)
        await wait_all_tasks_blocked()

        assert [type(each.error) for each in served.outcomes] == [ClientGone]


async def test_lanes_that_rest_are_given_up(clock: MockClock) -> None:
    held = Held()
    async with http2_served(held) as (_, client):
        for _ in range(5):
            await client.ask()
        held.go.set()
        await client.turn()
        assert repr(client.session).endswith("0 streams 5 lanes idle>")
        clock.jump(LANES_KEPT + 0.1)
        await client.turn()

        assert repr(client.session).endswith("0 streams 1 lanes idle>")
        assert (await client.ask()).status == 200


@pytest.mark.parametrize("sockets", [False, True])
async def test_what_is_refused_is_answered_whole_though_its_body_is_to_come(
    clock: MockClock, sockets: bool
) -> None:
    fields = [*POST, *[(b"x", b"y")] * 101]
    async with http2_served(ok, sockets=sockets) as (_, client):
        answer = await client.ask(fields, is_end=False)

        assert (answer.status, answer.is_ended, answer.code) == (431, True, 0)


@pytest.mark.parametrize("sockets", [False, True])
async def test_what_is_refused_may_be_reset_by_then(
    clock: MockClock, sockets: bool
) -> None:
    async with http2_served(ok, sockets=sockets) as (served, client):
        stream = client.codec.open([*GET, *[(b"x", b"y")] * 101], is_end=True)
        client.answers[stream] = Answer()
        asked = client.codec.take()
        client.codec.reset(stream, h2.CANCEL)
        await client.stream.send_all(asked + client.codec.take())
        await client.turn()

        assert served.refusals == [431]
        assert (await client.ask()).data == b"ok"


async def test_who_comes_while_the_proxy_ends_is_told_so(clock: MockClock) -> None:
    def while_ending(session: ServerConnection) -> None:
        session.server.is_draining = True

    async with http2_served(ok, prepare=while_ending) as (_, client):
        assert client.goaways == [(2**31 - 1, 0)]
        clock.jump(MOMENT + 0.1)
        await client.turn()

        assert client.session.is_over


async def test_a_drain_behind_the_end_changes_nothing(clock: MockClock) -> None:
    limits = HttpLimits(keep_alive=20.0)
    async with http2_served(ok, limits=limits) as (_, client):
        clock.jump(20.1)
        await client.turn()
        assert client.session.is_over
        client.session.drain()
        await client.turn()

        assert client.goaways == [(0, 0)]


async def test_more_streams_than_twice_the_granted_are_refused(
    still: MockClock,
) -> None:
    is_stuck = True

    async def service(request: Request, /) -> Response:
        # Work that takes its time to end though nobody waits for it.
        with trio.CancelScope(shield=True):
            while is_stuck:
                await trio.lowlevel.checkpoint()
        return await ok(request)

    http2 = Http2(max_streams=2, ping_interval=None)
    async with http2_served(service, http2=http2) as (served, client):
        streams = []
        for _ in range(5):
            stream = client.codec.open([*GET], is_end=True)
            client.answers[stream] = Answer()
            streams.append(stream)
            await client._flush()
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            if len(streams) < 5:
                client.codec.reset(stream, h2.CANCEL)
        is_stuck = False
        await client.turn()

        assert client.answers[streams[-1]].code == h2.REFUSED_STREAM
        assert [type(each.error) for each in served.outcomes] == [ClientGone] * 4


@pytest.mark.parametrize("sockets", [False, True])
async def test_a_request_in_the_first_read_is_served(
    clock: MockClock, sockets: bool
) -> None:
    """What was received to find out the protocol is handed on."""
    async with http2_served(ok, sockets=sockets, is_early=True) as (_, client):
        assert client.answers[1].data == b"ok"


async def test_an_answer_over_tls_is_whole(clock: MockClock) -> None:
    async def big(request: Request, /) -> Response:
        return Response(200, body=Buffered(b"x" * 3_000_000))

    async with http2_served(big, tls=True) as (served, client):
        answer = await client.ask()
        while not answer.is_ended:
            await client.turn()

        assert len(answer.data) == 3_000_000
        assert served.error() is None


async def test_a_head_counts_for_the_more_the_longer_it_is(still: MockClock) -> None:
    async with http2_served(ok) as (served, client):
        for _ in range(PREMATURE // 10):
            assert not client.session.is_over
            await client.ask([*GET, *[(b"x", b"y")] * 900])

        assert client.goaways[-1][1] == h2.ENHANCE_YOUR_CALM
        assert len(served.refusals) == PREMATURE // 10


STALL = HttpLimits().stall_timeout


async def more(request: Request, /) -> Response:
    """Answers with more than a window, but so little that no lane waits for its end."""
    return Response(200, body=Buffered(b"x" * 70_000))


async def test_an_answer_that_nobody_takes_is_given_up(clock: MockClock) -> None:
    async with http2_served(more) as (served, client):
        client.consumes = False
        answer = await client.ask()
        assert [each.status for each in served.outcomes] == [200]
        assert client.session.is_busy
        await trio.sleep(2 * STALL + 1)
        await client.turn()

        assert answer.code == h2.CANCEL
        assert not client.session.is_busy


async def test_an_answer_that_is_taken_late_is_whole(clock: MockClock) -> None:
    async with http2_served(more) as (_, client):
        client.consumes = False
        answer = await client.ask()
        await trio.sleep(STALL + 1)
        client.codec.consumed(1, 65_535)
        await client.turn()

        assert len(answer.data) == 70_000
        assert answer.code == 0


async def test_a_connection_ends_though_nobody_takes_its_answers(
    clock: MockClock,
) -> None:
    async with http2_served(more) as (_, client):
        client.consumes = False
        await client.ask()
        client.session.drain()
        await trio.sleep(2 * STALL + 1)
        await client.turn()

        assert client.has_ended


async def test_a_client_that_reads_nothing_is_given_up(clock: MockClock) -> None:
    async with http2_served(more, sockets=True) as (_, client):
        client.codec.widen(0, 2**30)
        client.reads = trio.Event()
        for _ in range(90):
            await client.ask()
        assert client.session.is_busy
        await trio.sleep(STALL - 1)
        assert client.session.is_busy
        await trio.sleep(STALL + 2)

        assert client.session.is_over
        client.reads.set()


async def test_a_long_read_is_taken_in_by_pieces(clock: MockClock) -> None:
    taken: list[int] = []

    def watch(session: ServerConnection) -> None:
        receive = session.codec.receive

        def watched(data: bytes) -> None:
            taken.append(len(data))
            receive(data)

        session.codec.receive = watched  # type: ignore[method-assign]

    async def size(request: Request, /) -> Response:
        return Response(200, body=Buffered(b"%d" % len(await read(request.body))))

    async with http2_served(size, prepare=watch) as (_, client):
        await client.ask(POST, is_end=False)
        taken.clear()
        client.codec.send(1, b"x" * 40_000, is_end=True)
        await client.turn()

        assert max(taken) == client.session.codec.stop(bytes(40_000), 0)
        assert sum(taken) > 40_000
        assert client.answers[1].data == b"40000"
