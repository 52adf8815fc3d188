"""An exchange over HTTP/2 is an exchange: answered, limited and ended like any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.api import Service
from meshfilters.errors import (
    BadRequest,
    ClientGone,
    DeadlineExceeded,
    Draining,
    FilterFailed,
    MeshError,
    Refused,
    UpstreamProtocolError,
    UpstreamReset,
)
from meshfilters.memory import stream_pair
from meshfilters.message import Buffered, Headers, Request, Response
from meshfilters.testing import Chunks, read
from proxy.codec import h2
from proxy.config.model import Http as HttpLimits
from proxy.downstream.lane import LINGER
from proxy.downstream.stream_writer import reset_code
from tests.proxy.downstream.http2_served import GET, POST, Answer, http2_served

WEBSOCKET = ((b":method", b"CONNECT"), *GET[1:], (b":protocol", b"websocket"))


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


over_both = pytest.mark.parametrize("sockets", [False, True])
"""Over memory streams, whose sending is a task's, and over sockets."""


def raising(error: Exception) -> Callable[[Request], object]:
    async def service(request: Request, /) -> Response:
        raise error

    return service


async def test_an_error_is_answered_and_the_connection_goes_on(
    clock: MockClock,
) -> None:
    async with http2_served(raising(Refused("not you"))) as (served, client):  # type: ignore[arg-type]
        answer = await client.ask()
        again = await client.ask()

        assert (answer.status, again.status) == (403, 403)
        assert answer[b"tulle-error"] == b"refused; by=record"
        assert answer.data.startswith(b"refused: not you")
        assert len(served.outcomes) == 2


async def test_an_error_is_grpcs_own_to_grpc(clock: MockClock) -> None:
    grpc = (*POST, (b"content-type", b"application/grpc"))
    async with http2_served(raising(Refused("not you"))) as (_, client):  # type: ignore[arg-type]
        answer = await client.ask(grpc)

        assert answer.status == 200
        assert answer[b"grpc-status"] == b"7"
        assert answer[b"grpc-message"] == b"not you"
        assert answer.is_ended
        assert answer.data == b""


async def test_an_error_behind_the_head_resets_with_its_reason(
    clock: MockClock,
) -> None:
    error = UpstreamReset("gone")
    error.reset = h2.ENHANCE_YOUR_CALM

    class Half(Chunks):
        async def receive(self) -> bytes:
            data = await super().receive()
            if not data:
                raise error
            return data

    async def service(request: Request, /) -> Response:
        return Response(200, body=Half(b"half"))

    async with http2_served(service, sockets=True) as (served, client):
        answer = await client.ask()

        assert (answer.status, answer.data) == (200, b"half")
        assert answer.code == h2.ENHANCE_YOUR_CALM
        assert served.outcomes[0].error is error


@pytest.mark.parametrize(
    ("error", "code"),
    [(DeadlineExceeded(), h2.CANCEL), (MeshError(), h2.INTERNAL_ERROR)],
)
def test_an_error_of_ours_has_a_code(error: MeshError, code: int) -> None:
    assert reset_code(error) == code


async def test_a_body_comes_whole_or_in_pieces(clock: MockClock) -> None:
    bodies: list[bytes] = []

    async def service(request: Request, /) -> Response:
        bodies.append(await read(request.body))
        return Response(200, body=Buffered(b"%d" % len(bodies[-1])))

    async with http2_served(service) as (served, client):
        stream = client.codec.open([*POST], is_end=False)
        client.answers[stream] = type(await client.ask())()
        client.codec.send(stream, b"x" * 200_000, is_end=True)
        for _ in range(8):
            await client.turn()

        assert client.answers[stream].data == b"200000"
        assert [each.received for each in served.outcomes] == [0, 200_000]


async def test_an_unread_body_is_held_back_at_its_window(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with http2_served(service) as (_, client):
        await client.ask(POST, is_end=False)
        client.codec.send(1, b"x" * 200_000, is_end=True)
        await client.turn()
        await client.turn()

        assert client.codec.queued(1) == 200_000 - 65_535


async def test_an_early_answer_is_whole_and_then_the_rest_is_refused(
    clock: MockClock,
) -> None:
    async def service(request: Request, /) -> Response:
        return Response(413, body=Buffered(b"too much"))

    async with http2_served(service) as (_, client):
        answer = await client.ask(POST, is_end=False)

        assert (answer.status, answer.data, answer.is_ended) == (413, b"too much", True)
        assert answer.code == h2.NO_ERROR


@pytest.mark.parametrize("told", [True, False])
async def test_a_body_over_the_limit_is_413(clock: MockClock, told: bool) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, body=Buffered(await read(request.body)))

    fields = [*POST, *([(b"content-length", b"100")] if told else [])]
    async with http2_served(service, limits=HttpLimits(max_body=50)) as (_, client):
        answer = await client.ask(fields, is_end=False)
        if not told:
            client.codec.send(1, b"x" * 51, is_end=False)
            await client.turn()

        assert answer.status == 413


async def test_a_client_that_waits_is_told_to_go_on(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, body=Buffered(await read(request.body)))

    async with http2_served(service) as (_, client):
        answer = await client.ask([*POST, (b"expect", b"100-continue")], is_end=False)
        assert answer.informational == [b"100"]
        client.codec.send(1, b"body", is_end=True)
        await client.turn()

        assert answer.data == b"body"


async def test_a_limit_of_the_exchanges_ends_it(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        request.exchange.lower(request=2.0)
        await trio.sleep_forever()
        raise AssertionError

    async with http2_served(service) as (served, client):
        answer = await client.ask()
        clock.jump(2.1)
        await client.turn()

        assert answer.status == 504
        assert type(served.outcomes[0].error) is DeadlineExceeded
        assert (await client.ask(GET)).status is None


async def test_a_websocket_is_shown_as_http1_has_it(clock: MockClock) -> None:
    ours, theirs = stream_pair()
    asked: list[Request] = []

    async def service(request: Request, /) -> Response:
        asked.append(request)
        headers = Headers([(b"Upgrade", b"websocket"), (b"sec-websocket-accept", b"x")])
        return Response(101, headers, upgrade=theirs)

    async with http2_served(service) as (served, client):
        answer = await client.ask(WEBSOCKET, is_end=False)
        assert asked[0].method == b"GET"
        assert asked[0].headers.get(b"upgrade") == b"websocket"
        assert len(asked[0].headers.get(b"sec-websocket-key") or b"") == 24
        assert answer.fields == [(b":status", b"200")]
        client.codec.send(1, b"ping", is_end=False)
        await client.turn()
        assert await ours.receive_some() == b"ping"
        await ours.send_all(b"ping too")
        await client.turn()
        assert answer.data == b"ping too"
        await ours.aclose()
        client.codec.send(1, b"", is_end=True)
        await client.turn()

        [outcome] = served.outcomes
        assert (outcome.status, outcome.is_success) == (200, True)
        assert (outcome.received, outcome.sent) == (4, 8)


async def test_what_a_tunnel_counted_is_its_own(clock: MockClock) -> None:
    ours, theirs = stream_pair()

    async def service(request: Request, /) -> Response:
        if b"upgrade" in request.headers:
            return Response(101, upgrade=theirs)
        return await answer(request)

    async with http2_served(service) as (served, client):
        await client.ask(WEBSOCKET, is_end=False)
        client.codec.send(1, b"ping", is_end=True)
        await client.turn()
        await ours.aclose()
        await client.turn()
        await client.ask(GET)

        assert "1 lanes idle" in repr(client.session)
        counted = [(each.received, each.sent) for each in served.outcomes]
        assert counted == [(4, 0), (0, 2)]


async def test_connect_is_off_unless_it_is_on(clock: MockClock) -> None:
    connect = [(b":method", b"CONNECT"), (b":authority", b"db:5432")]
    async with http2_served(raising(Refused())) as (_, client):  # type: ignore[arg-type]
        assert (await client.ask(connect, is_end=False)).status == 405


@pytest.mark.parametrize(
    ("alpn", "version"), [("tulle/1", "1.0"), ("h2", "2"), (None, "2")]
)
async def test_a_version_is_believed_of_a_sidecar_alone(
    clock: MockClock, alpn: str | None, version: str
) -> None:
    asked: list[Request] = []

    async def service(request: Request, /) -> Response:
        asked.append(request)
        return Response(204)

    async with http2_served(service, alpn=alpn) as (_, client):
        for _ in range(2):  # the second is remembered
            await client.ask([*GET, (b"tulle-orig-proto", b"HTTP/1.0")])

        assert [each.exchange.version for each in asked] == [version, version]
        assert not any(b"tulle-orig-proto" in each.headers for each in asked)


async def test_a_lane_serves_the_next_stream(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        return Response(204)

    async with http2_served(service) as (served, client):
        for _ in range(10):
            await client.ask()
        await wait_all_tasks_blocked()

        assert client.session._lanes == 1
        assert len(served.outcomes) == 10


class Broken(Chunks):
    """A body that gives its chunks and then breaks."""

    def __init__(
        self, *chunks: bytes, error: Exception, length: int | None = None
    ) -> None:
        super().__init__(*chunks, length=length)
        self._error = error

    async def receive(self) -> bytes:
        data = await super().receive()
        if not data:
            raise self._error
        return data


async def answer(request: Request, /) -> Response:
    return Response(200, body=Buffered(b"ok"))


async def never(request: Request, /) -> Response:
    await trio.sleep_forever()
    raise AssertionError


@over_both
async def test_a_response_that_breaks_over_an_unread_request_harms_no_other(
    clock: MockClock, sockets: bool
) -> None:
    async def service(request: Request, /) -> Response:
        if request.method == b"GET":
            return await answer(request)
        return Response(200, body=Broken(b"half", error=UpstreamReset("gone")))

    async with http2_served(service, sockets=sockets) as (served, client):
        broken = await client.ask(POST, is_end=False)

        assert (broken.data, broken.code) == (b"half", h2.INTERNAL_ERROR)
        assert (await client.ask()).data == b"ok"
        assert [type(each.error) for each in served.outcomes] == [
            UpstreamReset,
            type(None),
        ]


GRPC = (*POST, (b"content-type", b"application/grpc"))


def breaking(error: MeshError, length: int | None = None) -> Service[Request, Response]:
    """A gRPC answer whose body breaks."""

    async def service(request: Request, /) -> Response:
        return Response(200, body=Broken(b"half", error=error, length=length))

    return service


@over_both
@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UpstreamReset("gone"), 14, b"gone"),
        (DeadlineExceeded("over 3 s"), 4, b"over 3 s"),
        (Draining(), 14, b"draining"),
    ],
)
async def test_grpc_is_told_why_its_answer_is_cut_short(
    clock: MockClock, sockets: bool, error: MeshError, status: int, message: bytes
) -> None:
    async with http2_served(breaking(error), sockets=sockets) as (served, client):
        answer = await client.ask(GRPC)

        assert (answer.data, answer.code) == (b"half", h2.NO_ERROR)
        assert answer.trailers == [
            (b"grpc-status", b"%d" % status),
            (b"grpc-message", message),
            (b"tulle-error", error.reason.encode() + b"; by=proxy"),
        ]
        [outcome] = served.outcomes
        assert (outcome.error, outcome.grpc_status) == (error, status)


@pytest.mark.parametrize(
    ("fields", "length", "code"),
    [(POST, None, 0), (GRPC, 9, 0), (GRPC, None, h2.ENHANCE_YOUR_CALM)],
    ids=["not-grpc", "of-a-length", "reset-by-the-upstream"],
)
async def test_other_answers_that_are_cut_short_are_reset(
    clock: MockClock,
    fields: tuple[tuple[bytes, bytes], ...],
    length: int | None,
    code: int,
) -> None:
    error = UpstreamReset("gone")
    error.reset = code or None
    async with http2_served(breaking(error, length)) as (_, client):
        answer = await client.ask(fields)

        assert (answer.data, answer.trailers) == (b"half", [])
        assert answer.code == (code or h2.INTERNAL_ERROR)


@over_both
async def test_a_client_may_reset_what_it_has_not_taken_of_an_early_answer(
    clock: MockClock, sockets: bool
) -> None:
    async def service(request: Request, /) -> Response:
        size = 70_000 if request.method == b"POST" else 2
        return Response(200, body=Buffered(b"x" * size))

    async with http2_served(service, sockets=sockets) as (_, client):
        client.consumes = False
        await client.ask(POST, is_end=False)
        client.codec.reset(1, h2.CANCEL)
        await client.turn()

        assert (await client.ask()).data == b"xx"


async def test_an_early_answer_that_nobody_takes_is_reset(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, body=Buffered(b"x" * 70_000))

    async with http2_served(service, sockets=True) as (_, client):
        client.consumes = False
        early = await client.ask(POST, is_end=False)
        assert client.answers[1].code is None
        clock.jump(LINGER + 0.1)
        await client.turn()

        assert early.code == h2.CANCEL
        assert not early.is_ended


@over_both
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b":method", b"CONNECT"), (b":authority", b"db:5432")], 405),
        ([*POST, (b"content-length", b"0")], 200),
        ([*WEBSOCKET], 403),
        ([(b":method", b"HEAD"), *GET[1:]], 200),
    ],
)
async def test_an_answered_stream_ends_though_the_client_forgets_its_side(
    clock: MockClock, sockets: bool, fields: list[tuple[bytes, bytes]], status: int
) -> None:
    async def service(request: Request, /) -> Response:
        if b"upgrade" in request.headers:
            raise Refused
        return await answer(request)

    async with http2_served(service, sockets=sockets) as (_, client):
        answered = await client.ask(fields, is_end=False)

        assert (answered.status, answered.is_ended) == (status, True)
        assert answered.code == h2.NO_ERROR
        assert not client.session.is_busy


async def test_what_is_not_read_of_a_stream_gives_the_connection_its_window_back(
    clock: MockClock,
) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, body=Buffered(await read(request.body)))

    async with http2_served(service) as (served, client):
        for _ in range(30):
            stream = client.codec.open([*POST], is_end=False)
            client.answers[stream] = Answer()
            client.codec.send(stream, b"x" * 60_000, is_end=False)
            data = client.codec.take()
            client.codec.reset(stream, h2.CANCEL)
            # Both in one read: no lane has begun when the stream is over.
            await client.stream.send_all(data + client.codec.take())
            await client.turn()
        assert served.outcomes == []
        last = await client.ask(POST, is_end=False)
        client.codec.send(max(client.answers), b"y" * 200_000, is_end=True)
        while not last.is_ended:
            await client.turn()

        assert last.data == b"y" * 200_000


async def test_a_slow_client_is_no_stalled_one(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, body=Buffered(b"x" * 1_000_000))

    async with http2_served(service) as (served, client):
        client.consumes = False
        await client.ask()
        for _ in range(8):
            clock.jump(20)
            client.codec.consumed(1, 33_000)
            await client.turn()
        assert served.outcomes == []
        for _ in range(2):
            clock.jump(60.1)
            await client.turn()

        assert served.error() is ClientGone
        assert client.answers[1].code == h2.CANCEL


async def test_a_body_that_stops_coming_is_408(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, body=Buffered(await read(request.body)))

    async with http2_served(service) as (served, client):
        stalled = await client.ask(POST, is_end=False)
        client.codec.send(1, b"some", is_end=False)
        await client.turn()
        for _ in range(2):
            clock.jump(60.1)
            await client.turn()

        assert (stalled.status, stalled.code) == (408, h2.NO_ERROR)
        assert served.error() is BadRequest


async def test_an_idle_limit_counts_both_ways(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        request.exchange.lower(idle=5.0)
        await request.body.receive()
        return await never(request)

    async with http2_served(service) as (served, client):
        idle = await client.ask(POST, is_end=False)
        clock.jump(4)
        client.codec.send(1, b"some", is_end=False)
        await client.turn()
        clock.jump(4)
        await client.turn()
        assert client.answers[1].status is None
        clock.jump(1.1)
        await client.turn()

        assert idle.status == 504
        assert served.error() is DeadlineExceeded


@over_both
async def test_a_body_that_a_filter_broke_is_the_filters(
    clock: MockClock, sockets: bool
) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, body=Broken(error=trio.ClosedResourceError("by a filter")))

    async with http2_served(service, sockets=sockets) as (served, client):
        broken = await client.ask()

        assert broken.code == h2.INTERNAL_ERROR
        assert served.error() is FilterFailed
        assert served.failures() == [(("body", "ClosedResourceError"), 1)]


async def test_a_websocket_that_is_answered_without_one_is_not_open(
    clock: MockClock,
) -> None:
    body = Chunks(b"<html>")

    async def service(request: Request, /) -> Response:
        return Response(200, body=body)

    async with http2_served(service) as (served, client):
        refused = await client.ask(WEBSOCKET, is_end=False)

        assert refused.status == 502
        assert served.error() is UpstreamProtocolError
        assert body.is_closed


async def test_a_quiet_websocket_is_kept(clock: MockClock) -> None:
    ours, theirs = stream_pair()

    async def service(request: Request, /) -> Response:
        return Response(101, upgrade=theirs)

    async with http2_served(service) as (served, client):
        await client.ask(WEBSOCKET, is_end=False)
        for _ in range(3):
            clock.jump(61)
            await client.turn()
        assert served.outcomes == []
        client.codec.reset(1, h2.CANCEL)
        await client.turn()

        assert await ours.receive_some() == b""
        assert len(served.outcomes) == 1


@over_both
async def test_a_client_that_resets_ends_the_work_at_once(
    clock: MockClock, sockets: bool
) -> None:
    cancelled: list[bytes] = []

    async def service(request: Request, /) -> Response:
        try:
            return await never(request)
        finally:
            cancelled.append(request.target)

    async with http2_served(service, sockets=sockets) as (served, client):
        await client.ask()
        client.codec.reset(1, h2.CANCEL)
        await client.turn()

        assert cancelled == [b"/"]
        assert [type(each.error) for each in served.outcomes] == [ClientGone]
        assert not client.session.is_busy


async def test_a_workers_end_ends_each_exchange_once(clock: MockClock) -> None:
    async with http2_served(never) as (served, client):
        await client.ask()
        await client.ask()
        client.session.cancel()
        await wait_all_tasks_blocked()

        assert [type(each.error) for each in served.outcomes] == [Draining, Draining]


async def test_a_filters_bug_is_blamed_and_answered(clock: MockClock) -> None:
    async with http2_served(raising(ZeroDivisionError())) as (served, client):  # type: ignore[arg-type]
        failed = await client.ask()

        assert failed.status == 500
        assert failed[b"tulle-error"] == b"filter failed; by=record"
        assert served.error() is FilterFailed


async def test_a_client_that_waits_in_vain_is_answered(clock: MockClock) -> None:
    async with http2_served(raising(Refused())) as (_, client):  # type: ignore[arg-type]
        fields = [*POST, (b"expect", b"100-continue")]
        refused = await client.ask(fields, is_end=False)

        assert (refused.status, refused.informational) == (403, [])
        assert refused.code == h2.NO_ERROR


async def test_a_client_of_http10_behind_a_sidecar_gets_no_1xx(
    clock: MockClock,
) -> None:
    told: list[object] = []

    async def service(request: Request, /) -> Response:
        told.append(request.exchange.informational)
        return Response(204)

    async with http2_served(service, alpn="tulle/1") as (_, client):
        await client.ask([*GET, (b"tulle-orig-proto", b"HTTP/1.0")])
        await client.ask([*GET, (b"tulle-orig-proto", b"HTTP/1.1")])
        await client.ask([*GET, (b"tulle-orig-proto", b"HTTP/9")])

        assert [each is None for each in told] == [True, False, False]


@pytest.mark.parametrize(("told", "status"), [(b"0", 0), (b"5", 5), (b"9" * 5000, 2)])
async def test_a_grpc_status_is_one_of_a_few(
    clock: MockClock, told: bytes, status: int
) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, Headers([(b"grpc-status", told)]))

    async with http2_served(service) as (served, client):
        await client.ask()

        assert [each.grpc_status for each in served.outcomes] == [status]
