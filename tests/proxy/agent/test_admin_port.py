"""The admin port speaks HTTP on real sockets."""

from __future__ import annotations

import socket

import trio

from meshfilters.message import Buffered, Request, Response
from proxy.agent.admin_port import serve_admin


async def echo(request: Request, /) -> Response:
    """Says who asked for what."""
    client = request.exchange.connection.client.rpartition(":")[0]
    return Response(200, body=Buffered(request.target + b" " + client.encode()))


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
