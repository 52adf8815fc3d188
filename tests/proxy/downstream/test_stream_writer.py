"""A response over HTTP/2 has exactly the body that it has."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from meshfilters.errors import FilterFailed
from meshfilters.exchange import Exchange
from meshfilters.message import Buffered, Headers, Request, Response
from meshfilters.testing import Chunks
from tests.proxy.downstream.http2_served import GET, http2_served

HEAD = ((b":method", b"HEAD"), *GET[1:])


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@pytest.mark.parametrize("sockets", [False, True])
@pytest.mark.parametrize(
    ("response", "data", "trailers"),
    [
        (lambda: Response(200, body=Buffered(b"ok")), b"ok", []),
        (lambda: Response(200), b"", []),
        (lambda: Response(200, body=Chunks(b"a", b"b")), b"ab", []),
        (lambda: Response(200, body=Chunks(b"ab", length=2)), b"ab", []),
        (
            lambda: Response(200, body=Buffered(b"x", Headers([(b"Sum", b"1")]))),
            b"x",
            [(b"sum", b"1")],
        ),
        (
            lambda: Response(200, body=Chunks(b"x", trailers=[(b"Sum", b"1")])),
            b"x",
            [(b"sum", b"1")],
        ),
        (lambda: Response(200, body=Chunks(*[b"x" * 9000] * 50)), b"x" * 450_000, []),
        (lambda: Response(200, body=Buffered(b"x" * 450_000)), b"x" * 450_000, []),
    ],
)
async def test_bodies_and_trailers_are_written(
    clock: MockClock,
    sockets: bool,
    response: object,
    data: bytes,
    trailers: list[tuple[bytes, bytes]],
) -> None:
    async def service(request: Request, /) -> Response:
        made: Response = response()  # type: ignore[operator]  # a table's lambda
        return made

    async with http2_served(service, sockets=sockets) as (served, client):
        answer = await client.ask()
        while not answer.is_ended:
            await client.turn()

        assert (answer.status, answer.data, answer.trailers) == (200, data, trailers)
        assert [each.sent for each in served.outcomes] == [len(data)]
        assert answer.code == 0


@pytest.mark.parametrize(("fields", "status"), [(HEAD, 200), (GET, 204), (GET, 304)])
async def test_what_has_no_body_gets_none(
    clock: MockClock, fields: tuple[tuple[bytes, bytes], ...], status: int
) -> None:
    body = Chunks(b"dropped")

    async def service(request: Request, /) -> Response:
        return Response(status, body=body)

    async with http2_served(service) as (_, client):
        answer = await client.ask(fields)

        assert (answer.status, answer.data, answer.is_ended) == (status, b"", True)
        assert body.is_closed


async def test_a_slow_client_stops_the_reading_of_its_body(clock: MockClock) -> None:
    body = Chunks(*[b"x" * 10_000] * 100)

    async def service(request: Request, /) -> Response:
        return Response(200, body=body)

    async with http2_served(service) as (_, client):
        client.consumes = False
        answer = await client.ask()
        await client.turn()
        assert len(answer.data) == 65_535
        assert body.received < 16

        client.consumes = True
        client.codec.consumed(1, len(answer.data))
        while not answer.is_ended:
            await client.turn()
        assert len(answer.data) == 1_000_000


@pytest.mark.parametrize(
    "body", [Chunks(b"abc", length=2), Chunks(b"a", length=2)], ids=["long", "short"]
)
async def test_a_body_of_another_length_is_a_filters_mistake(
    clock: MockClock, body: Chunks
) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, body=body)

    async with http2_served(service) as (served, client):
        answer = await client.ask()

        assert answer.code == 2
        assert type(served.outcomes[0].error) is FilterFailed


async def test_a_bad_field_is_a_filters_mistake(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, Headers([(b"x", b"a\r\nb")]))

    async with http2_served(service) as (_, client):
        assert (await client.ask()).status == 500


async def test_a_1xx_goes_ahead(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        tell = request.exchange.informational
        assert tell is not None
        await tell(103, Headers([(b"Link", b"</x>")]))
        return Response(204)

    async with http2_served(service) as (_, client):
        answer = await client.ask()

        assert answer.informational == [b"103"]
        assert answer.status == 204


@pytest.mark.parametrize("status", [103, 199])
async def test_what_is_no_final_response_is_a_filters_mistake(
    clock: MockClock, status: int
) -> None:
    async def service(request: Request, /) -> Response:
        return Response(status)

    async with http2_served(service) as (served, client):
        assert (await client.ask()).status == 500
        assert served.error() is FilterFailed


async def test_bad_trailers_break_the_response_off(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, body=Chunks(b"x", trailers=[(b"x", b"a\r\nb")]))

    async with http2_served(service) as (served, client):
        answer = await client.ask()

        assert (answer.status, answer.code) == (200, 2)
        assert served.error() is FilterFailed


class Late(Chunks):
    """A body in whose midst a 1xx comes."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(b"x")
        self._exchange = exchange

    async def receive(self) -> bytes:
        tell = self._exchange.informational
        assert tell is not None
        await tell(103, Headers())
        return await super().receive()


async def test_a_1xx_behind_the_head_is_not_told(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        return Response(200, body=Late(request.exchange))

    async with http2_served(service) as (_, client):
        answer = await client.ask()

        assert (answer.data, answer.informational) == (b"x", [])
