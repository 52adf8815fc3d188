"""The test kit: run a filter without a network, a clock or chance.

What a test needs to run one is in ``kit.py`` and named here as well. ``check_filter``,
``check_connection_filter`` and ``check_dial_filter`` run what every filter of their level
must do.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
import trio.testing

from meshfilters.api import (
    A,
    B,
    ConnectionFilter,
    DialFilter,
    Filter,
    RequestFilter,
    chain,
)
from meshfilters.env import Env
from meshfilters.exchange import Connection, Endpoint
from meshfilters.kit import Chunks, Fields, Kit, Reply, Scripted, read
from meshfilters.memory import stream_pair
from meshfilters.message import Buffered, Request, Response
from meshfilters.stream import Stream

__all__ = [
    "Chunks",
    "Fields",
    "Kit",
    "Reply",
    "Scripted",
    "check_connection_filter",
    "check_dial_filter",
    "check_filter",
    "read",
]

_TRAILERS = ((b"x-trailer", b"1"),)


async def check_filter(build: Callable[[Env], RequestFilter]) -> None:
    """Run the five behaviours every request filter must have; AssertionError if not.

    The filter is asked with plain requests it is expected to let through: it passes
    them and their bodies on, streams both ways without collecting, closes a response
    it does not hand on, lets a cancellation through, and leaves nothing behind.
    """
    await _check_passes_through(build)
    await _check_streams(build)
    await _check_closes(build)
    async with Kit() as kit:
        request = kit.ask()
        await _check_is_cancelled(build(kit.env), request)
        kit.end(request, None)
    await _check_leaves_nothing(build)


async def check_connection_filter(build: Callable[[Env], ConnectionFilter]) -> None:
    """Run what every connection filter must do; AssertionError if it does not.

    It passes a connection on that it is expected to let through, with its bytes both
    ways, and lets a cancellation through. Not for one that speaks TLS.
    """
    async with Kit() as kit:
        client, stream = stream_pair()
        heard: list[bytes] = []

        async def inner(connection: Connection, /) -> None:
            heard.append(await connection.stream.peek(1))
            heard.append(await _receive_all(connection.stream))
            await connection.stream.send_all(b"pong")

        await client.send_all(b"ping")
        await client.send_eof()
        await chain([build(kit.env)], inner)(kit.connection(stream))
        await stream.aclose()
        answered = await _receive_all(client)
        assert heard, "it did not pass the connection on"
        assert heard == [b"p", b"ping"], f"it changed what the client sent to {heard}"
        assert answered == b"pong", f"it changed the answer to {answered!r}"
        await _check_is_cancelled(build(kit.env), kit.connection())


async def check_dial_filter(build: Callable[[Env], DialFilter]) -> None:
    """Run what every dial filter must do; AssertionError if it does not.

    It hands a stream on that passes bytes both ways and closes the one inside it, and
    lets a cancellation through. Not for one that speaks TLS.
    """
    async with Kit() as kit:
        server, dialled = stream_pair()
        endpoint = Endpoint("service", "198.51.100.1:80")

        async def inner(endpoint: Endpoint, /) -> Stream:
            return dialled

        stream = await chain([build(kit.env)], inner)(endpoint)
        await stream.send_all(b"ping")
        await server.send_all(b"pong")
        await server.send_eof()
        answered = await _receive_all(stream)
        await stream.aclose()
        assert dialled.is_closed, "its stream did not close the one inside it"
        heard = await _receive_all(server)
        assert heard == b"ping", f"it changed what was sent to {heard!r}"
        assert answered == b"pong", f"it changed the answer to {answered!r}"
        await _check_is_cancelled(build(kit.env), endpoint)


async def _receive_all(stream: Stream) -> bytes:
    chunks = []
    while chunk := await stream.receive_some():
        chunks.append(chunk)
    return b"".join(chunks)


async def _check_passes_through(build: Callable[[Env], RequestFilter]) -> None:
    async with Kit() as kit:
        upstream = kit.script(Response(204))
        request = kit.ask(b"POST", b"/x", body=Buffered(b"payload"))
        response = await chain([build(kit.env)], upstream)(request)
        assert response.status == 204, f"it changed the status to {response.status}"
        assert upstream.bodies == [b"payload"], "it did not pass the request's body on"
        kit.end(request)


async def _check_streams(build: Callable[[Env], RequestFilter]) -> None:
    async with Kit() as kit:
        sent = Chunks(b"1", b"2", b"3", trailers=_TRAILERS)
        answered = Chunks(b"a", b"b", b"c", trailers=_TRAILERS)
        asked: list[Request] = []

        async def upstream(request: Request, /) -> Response:
            asked.append(request)
            await request.body.receive()
            assert sent.received == 1, "it collected the request's body"
            return Response(200, body=answered)

        request = kit.ask(b"POST", body=sent)
        response = await chain([build(kit.env)], upstream)(request)
        assert answered.received == 0, "it read the response before it was asked to"
        first = await response.body.receive()
        assert first, "it lost the response's first chunk"
        assert answered.received == 1, "it collected the response's body"
        rest = await read(response.body)
        assert first + rest == b"abc", f"it changed the response to {first + rest!r}"
        told = tuple(response.body.trailers)
        assert told == _TRAILERS, f"it changed the response's trailers to {told}"
        await read(asked[0].body)
        told = tuple(asked[0].body.trailers)
        assert told == _TRAILERS, f"it changed the request's trailers to {told}"
        kit.end(request)


async def _check_closes(build: Callable[[Env], RequestFilter]) -> None:
    async with Kit() as kit:
        bodies = [Chunks(b"x"), Chunks(b"x"), Chunks(b"x"), Chunks(b"x"), Chunks(b"x")]
        upstream = kit.script(*(Response(503, body=body) for body in bodies))
        request = kit.ask()
        response = await chain([build(kit.env)], upstream)(request)
        last = bodies[len(upstream.requests) - 1]
        is_read = last.received > 0 and not last.is_closed
        rest = await read(response.body)
        assert rest or not is_read, (
            "it handed a body on that it had read: nothing is left"
        )
        await response.body.aclose()
        left = [body for body in bodies[: len(upstream.requests)] if not body.is_closed]
        assert not left, "it dropped a response without closing its body"
        kit.end(request, 503)


async def _check_is_cancelled(running: Filter[A, B, A, B], asked: A) -> None:
    is_reached = trio.Event()

    async def inner(asked: A, /) -> B:
        is_reached.set()
        await trio.sleep_forever()

    service = chain([running], inner)
    scope = trio.CancelScope()

    async def ask() -> None:
        with scope:
            await service(asked)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await is_reached.wait()
        scope.cancel()
    assert scope.cancelled_caught, "it swallowed a cancellation"


async def _check_leaves_nothing(build: Callable[[Env], RequestFilter]) -> None:
    async with Kit() as kit:
        service = chain([build(kit.env)], kit.script(Response(200), Response(200)))
        for _ in range(2):
            request = kit.ask()
            response = await service(request)
            await read(response.body)
            kit.end(request)
            await trio.testing.wait_all_tasks_blocked()
        assert not kit.blamed, f"a callback or task of it raised: {kit.blamed}"
        assert not kit._scopes, "it left a task behind"
