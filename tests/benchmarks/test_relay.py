from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from benchmarks.certificates import write
from benchmarks.relay import Relay
from benchmarks.running import free_ports

WELCOME = b"welcome\n"


async def echo(stream: trio.SocketStream) -> None:
    """Greet, and say back what is heard; to "bye" say nothing, and hang up."""
    await stream.send_all(WELCOME)
    async for data in stream:
        if data == b"bye":
            return
        await stream.send_all(data)


@asynccontextmanager
async def relayed(*relays: Relay) -> AsyncIterator[trio.SocketStream]:
    """A connection to the first of some relays, before an echo."""
    async with trio.open_nursery() as nursery:
        for each in relays:
            await nursery.start(each.serve)
        serve = trio.serve_tcp
        await nursery.start(
            lambda task_status: serve(
                echo, relays[-1].to, host="127.0.0.1", task_status=task_status
            )
        )
        async with await trio.open_tcp_stream("127.0.0.1", relays[0].port) as stream:
            yield stream
        nursery.cancel_scope.cancel()


async def heard(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive_some()
        assert more, data
        data += more
    return data


async def test_bytes_are_handed_on_both_ways() -> None:
    port, to = free_ports(2)

    async with relayed(Relay(port, to)) as stream:
        assert await heard(stream, len(WELCOME)) == WELCOME
        await stream.send_all(b"x" * 100_000)
        assert await heard(stream, 100_000) == b"x" * 100_000


async def test_a_side_that_hangs_up_ends_the_connection() -> None:
    port, to = free_ports(2)

    async with relayed(Relay(port, to)) as stream:
        await heard(stream, len(WELCOME))
        await stream.send_all(b"bye")
        assert await stream.receive_some() == b""


async def test_between_two_relays_there_is_tls_of_both_sides(tmp_path: Path) -> None:
    write(tmp_path)
    port, between, to = free_ports(3)
    roots = str(tmp_path / "roots.pem")
    outbound = Relay(port, between, client=f"{tmp_path}/client.both.pem", roots=roots)
    inbound = Relay(between, to, server=f"{tmp_path}/server.both.pem", roots=roots)

    async with relayed(outbound, inbound) as stream:
        assert await heard(stream, len(WELCOME)) == WELCOME
        await stream.send_all(b"through")
        assert await heard(stream, 7) == b"through"


async def test_a_client_without_a_certificate_is_not_heard(tmp_path: Path) -> None:
    write(tmp_path)
    port, to = free_ports(2)
    server, roots = f"{tmp_path}/server.both.pem", f"{tmp_path}/roots.pem"

    async with relayed(Relay(port, to, server=server, roots=roots)) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert WELCOME not in await stream.receive_some()
