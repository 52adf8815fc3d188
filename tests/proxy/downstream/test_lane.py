"""An exchange over HTTP/2 is an exchange: answered, limited and ended like any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.errors import DeadlineExceeded, MeshError, Refused, UpstreamReset
from meshfilters.memory import stream_pair
from meshfilters.message import Buffered, Headers, Request, Response
from meshfilters.testing import Chunks, read
from proxy.codec import h2
from proxy.config.model import Http as HttpLimits
from proxy.downstream.lane import reset_code
from tests.proxy.downstream.http2_served import GET, POST, http2_served

WEBSOCKET = ((b":method", b"CONNECT"), *GET[1:], (b":protocol", b"websocket"))


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


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
        await ours.send_all(b"pong")
        await client.turn()
        assert answer.data == b"pong"
        await ours.aclose()
        client.codec.send(1, b"", is_end=True)
        await client.turn()

        assert [each.sent for each in served.outcomes] == [4]


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
        await client.ask([*GET, (b"tulle-orig-proto", b"HTTP/1.0")])

        assert asked[0].exchange.version == version
        assert b"tulle-orig-proto" not in asked[0].headers


async def test_a_lane_serves_the_next_stream(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        return Response(204)

    async with http2_served(service) as (served, client):
        for _ in range(10):
            await client.ask()
        await wait_all_tasks_blocked()

        assert client.session._lanes == 1
        assert len(served.outcomes) == 10
