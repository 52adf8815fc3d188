"""The admin port speaks HTTP on real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.api import Service
from meshfilters.message import Buffered, Request, Response
from proxy.agent import admin_port
from proxy.agent.admin_port import serve_admin


async def echo(request: Request, /) -> Response:
    """Says who asked for what."""
    client = request.exchange.connection.client.rpartition(":")[0]
    return Response(200, body=Buffered(request.target + b" " + client.encode()))


@asynccontextmanager
async def serving(
    service: Service[Request, Response],
) -> AsyncIterator[tuple[str, int]]:
    """The port's address."""
    listening = socket.create_server(("127.0.0.1", 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_admin, service, [listening])
        yield listening.getsockname()
        nursery.cancel_scope.cancel()


async def come(held: AsyncExitStack, address: tuple[str, int]) -> trio.SocketStream:
    """A client that is connected, and closed with the stack."""
    return await held.enter_async_context(await trio.open_tcp_stream(*address))


async def test_a_request_is_answered_by_the_service() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_admin, echo, [listening])
        client = await trio.open_tcp_stream(*listening.getsockname())
        async with client:
            for path in (b"/live", b"/ready"):
                await client.send_all(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = await client.receive_some()

                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
                assert answer.endswith(path + b" 127.0.0.1")
            nursery.cancel_scope.cancel()


async def test_what_is_no_request_is_refused() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_admin, echo, [listening])
        client = await trio.open_tcp_stream(*listening.getsockname())
        async with client:
            await client.send_all(b"GET / HTTP/1.1\r\n\r\n")

            assert (await client.receive_some()).startswith(b"HTTP/1.1 400 ")
            nursery.cancel_scope.cancel()


async def test_who_is_silent_is_let_go_soon(mock_clock: MockClock) -> None:
    async with serving(echo) as address, AsyncExitStack() as held:
        silent, begun, idle = [await come(held, address) for _ in range(3)]
        await begun.send_all(b"GET /live HT")
        await idle.send_all(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await idle.receive_some()).startswith(b"HTTP/1.1 200 ")
        await wait_all_tasks_blocked()
        mock_clock.jump(6)

        assert (await begun.receive_some()).startswith(b"HTTP/1.1 408 ")
        mock_clock.jump(5)
        assert await silent.receive_some() == await idle.receive_some() == b""


async def test_a_probe_takes_the_place_of_who_is_idle_for_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admin_port, "CONNECTIONS", 3)
    go = trio.Event()

    async def slow(request: Request, /) -> Response:
        if request.target == b"/slow":
            await go.wait()
        return await echo(request)

    async def ask(path: bytes) -> trio.SocketStream:
        client = await come(held, address)
        await client.send_all(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        await wait_all_tasks_blocked()
        return client

    async with serving(slow) as address, AsyncExitStack() as held:
        busy, idle, other = [await ask(each) for each in (b"/slow", b"/1", b"/slow")]
        assert (await idle.receive_some()).endswith(b"/1 127.0.0.1")

        probe = await ask(b"/slow")
        assert await idle.receive_some() == b""
        last = await ask(b"/ready")
        assert await busy.receive_some() == b""
        assert (await last.receive_some()).endswith(b"/ready 127.0.0.1")
        go.set()
        for each in (other, probe):
            assert (await each.receive_some()).endswith(b"/slow 127.0.0.1")
