from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import attrs
import pytest
import trio
import trio.testing

from meshfilters.api import ConnectionFilter, DialFilter, RequestFilter, Service
from meshfilters.env import Env
from meshfilters.exchange import Attempt, Connection, Endpoint, Outcome
from meshfilters.memory import stream_pair
from meshfilters.message import EMPTY, Body, Buffered, Headers, Request, Response
from meshfilters.stream import Stream
from meshfilters.testing import (
    check_connection_filter,
    check_dial_filter,
    check_filter,
    read,
)

Inner = Service[Request, Response]


@attrs.define
class Changed:
    """A response's body that a filter has changed; ``length`` must be unknown."""

    source: Body
    change: Callable[[bytes], bytes] = bytes
    is_greedy: bool = False

    length: None = None

    @property
    def trailers(self) -> Headers:
        return self.source.trailers

    async def receive(self) -> bytes:
        if self.is_greedy:
            return await read(self.source)
        return self.change(await self.source.receive())

    async def aclose(self) -> None:
        await self.source.aclose()


async def passes(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response.with_(body=Changed(response.body))


async def changes_the_status(request: Request, inner: Inner, /) -> Response:
    return (await inner(request)).with_(status=200)


async def drops_the_request_body(request: Request, inner: Inner, /) -> Response:
    return await inner(request.with_(body=EMPTY))


async def collects_the_request(request: Request, inner: Inner, /) -> Response:
    return await inner(request.with_(body=Buffered(await read(request.body))))


async def collects_the_response(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response.with_(body=Buffered(await read(response.body)))


async def loses_the_response(request: Request, inner: Inner, /) -> Response:
    return (await inner(request)).with_(body=EMPTY)


async def collects_when_asked(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response.with_(body=Changed(response.body, is_greedy=True))


async def changes_the_response(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response.with_(body=Changed(response.body, bytes.upper))


async def drops_without_closing(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response if response.status != 503 else Response(500)


async def reads_what_it_hands_on(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    if response.status == 503:
        await read(response.body)
    return response


class Trailerless(Changed):
    """A body of whose trailers nobody thought."""

    @property
    def trailers(self) -> Headers:
        return Headers()


async def loses_trailers(request: Request, inner: Inner, /) -> Response:
    response = await inner(request)
    return response.with_(body=Trailerless(response.body))


async def loses_the_requests_trailers(request: Request, inner: Inner, /) -> Response:
    return await inner(request.with_(body=Trailerless(request.body)))


async def swallows_a_cancellation(request: Request, inner: Inner, /) -> Response:
    try:
        return await inner(request)
    except trio.Cancelled:
        return Response(200)


async def raises_at_the_end(request: Request, inner: Inner, /) -> Response:
    def broken(outcome: Outcome) -> None:
        raise ValueError("a bug")

    request.exchange.on_end(broken)
    return await inner(request)


async def raises_at_an_attempt(request: Request, inner: Inner, /) -> Response:
    def broken(attempt: Attempt) -> None:
        raise ValueError("a bug")

    request.exchange.on_attempt(broken)
    return await inner(request)


async def starts_a_task_at_the_end(request: Request, inner: Inner, /) -> Response:
    exchange = request.exchange
    exchange.on_end(lambda outcome: exchange.start_soon(trio.sleep_forever))
    return await inner(request)


def building(running: RequestFilter) -> Callable[[Env], RequestFilter]:
    return lambda env: running


async def test_a_filter_that_passes_everything_on_is_fine() -> None:
    await check_filter(building(passes))


@pytest.mark.parametrize(
    ("running", "complaint"),
    [
        (changes_the_status, "it changed the status to 200"),
        (drops_the_request_body, "it did not pass the request's body on"),
        (collects_the_request, "it collected the request's body"),
        (collects_the_response, "it read the response before it was asked to"),
        (loses_the_response, "it lost the response's first chunk"),
        (collects_when_asked, "it collected the response's body"),
        (changes_the_response, "it changed the response to b'ABC'"),
        (drops_without_closing, "it dropped a response without closing its body"),
        (reads_what_it_hands_on, "it handed a body on that it had read"),
        (loses_trailers, r"it changed the response's trailers to \(\)"),
        (loses_the_requests_trailers, r"it changed the request's trailers to \(\)"),
        (swallows_a_cancellation, "it swallowed a cancellation"),
        (raises_at_the_end, "a callback or task of it raised"),
        (raises_at_an_attempt, "a callback or task of it raised"),
        (starts_a_task_at_the_end, "it left a task behind"),
    ],
)
async def test_what_no_filter_may_do_is_found(
    running: RequestFilter, complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        await check_filter(building(running))


class Shouting:
    """A stream that changes what it sends and receives, and may forget to close."""

    tls = None

    def __init__(
        self, inner: Stream, *, sends: bool = False, closes: bool = True
    ) -> None:
        self._inner = inner
        self._sends = sends
        self._closes = closes
        self.peek = inner.peek
        self.send_eof = inner.send_eof
        self.start_tls = inner.start_tls

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await self._inner.receive_some(max_bytes)
        return data if self._sends else data.upper()

    async def send_all(self, data: bytes) -> None:
        await self._inner.send_all(data.upper() if self._sends else data)

    async def aclose(self) -> None:
        if self._closes:
            await self._inner.aclose()


Inside = Service[Connection, None]
Dial = Service[Endpoint, Stream]


async def lets_in(connection: Connection, inner: Inside, /) -> None:
    await inner(connection)


async def turns_away(connection: Connection, inner: Inside, /) -> None:
    return


async def eats_bytes(connection: Connection, inner: Inside, /) -> None:
    await connection.stream.receive_some(2)
    await inner(connection)


async def shouts_back(connection: Connection, inner: Inside, /) -> None:
    await inner(connection.with_(Shouting(connection.stream, sends=True)))


async def lets_nobody_cancel(connection: Connection, inner: Inside, /) -> None:
    with suppress(trio.Cancelled):
        await inner(connection)


async def test_a_connection_filter_that_lets_everybody_in_is_fine() -> None:
    await check_connection_filter(lambda env: lets_in)


@pytest.mark.parametrize(
    ("running", "complaint"),
    [
        (turns_away, "it did not pass the connection on"),
        (eats_bytes, "it changed what the client sent to .b'n', b'ng'"),
        (shouts_back, "it changed the answer to b'PONG'"),
        (lets_nobody_cancel, "it swallowed a cancellation"),
    ],
)
async def test_what_no_connection_filter_may_do_is_found(
    running: ConnectionFilter, complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        await check_connection_filter(lambda env: running)


async def dials(endpoint: Endpoint, inner: Dial, /) -> Stream:
    return await inner(endpoint)


async def shouts(endpoint: Endpoint, inner: Dial, /) -> Stream:
    return Shouting(await inner(endpoint), sends=True)


async def hears_shouts(endpoint: Endpoint, inner: Dial, /) -> Stream:
    return Shouting(await inner(endpoint))


async def leaves_open(endpoint: Endpoint, inner: Dial, /) -> Stream:
    return Shouting(await inner(endpoint), closes=False)


async def dials_on(endpoint: Endpoint, inner: Dial, /) -> Stream:
    try:
        return await inner(endpoint)
    except trio.Cancelled:
        return stream_pair()[0]


async def test_a_dial_filter_that_hands_its_stream_on_is_fine() -> None:
    await check_dial_filter(lambda env: dials)


@pytest.mark.parametrize(
    ("running", "complaint"),
    [
        (shouts, "it changed what was sent to b'PING'"),
        (hears_shouts, "it changed the answer to b'PONG'"),
        (leaves_open, "its stream did not close the one inside it"),
        (dials_on, "it swallowed a cancellation"),
    ],
)
async def test_what_no_dial_filter_may_do_is_found(
    running: DialFilter, complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        await check_dial_filter(lambda env: running)
