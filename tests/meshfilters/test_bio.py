from __future__ import annotations

import pytest
import trio

from meshfilters import openssl
from meshfilters.bio import BioStream
from meshfilters.certificates import Material
from meshfilters.memory import stream_pair
from meshfilters.stream import HandshakeBroken, Stream
from tests.authority import API, root

ROOT = root()
SERVER = ROOT.issue(uris=[API])
SERVERS = openssl.server_context(
    Material((SERVER.certificate,), SERVER.key),
    minimum=1.3,
    alpn=(),
    is_client_required=False,
)
CLIENTS = openssl.client_context(
    Material(roots=(ROOT.certificate,)), minimum=1.3, alpn=()
)


async def tls_pair() -> tuple[Stream, Stream]:
    return await over(*stream_pair())


async def over(near: Stream, far: Stream) -> tuple[Stream, Stream]:
    found: list[Stream] = []

    async def accept() -> None:
        found.append(await far.start_tls(SERVERS, server_side=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        client = await near.start_tls(CLIENTS, server_side=False)
    assert isinstance(client, BioStream)
    return client, found[0]


async def test_what_one_end_sends_the_other_receives() -> None:
    client, server = await tls_pair()
    sent = bytes(range(256)) * 1000
    await client.send_all(sent)
    await client.send_eof()
    received = b""
    while data := await server.receive_some():
        received += data
    await server.send_all(b"late")

    assert received == sent
    assert await client.receive_some() == b"late"


async def test_a_peek_is_received_again() -> None:
    client, server = await tls_pair()
    await client.send_all(b"ab")
    await client.send_all(b"c")

    assert await server.peek(9, at_least=3) == b"abc"
    assert await server.peek(1) == b"a"
    assert await server.receive_some(1) == b"a"
    assert await server.receive_some() == b"bc"


async def test_a_peek_ends_with_the_stream() -> None:
    client, server = await tls_pair()
    await client.send_all(b"a")
    await client.send_eof()

    assert await server.peek(9, at_least=3) == b"a"


async def test_a_cut_connection_is_no_end() -> None:
    client, server = await tls_pair()
    await client.send_all(b"half")
    await client.aclose()

    assert await server.receive_some() == b"half"
    with pytest.raises(trio.BrokenResourceError, match="without ending its TLS"):
        await server.receive_some()


async def test_sending_after_the_end_is_an_error() -> None:
    client, _ = await tls_pair()
    await client.send_eof()

    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"x")


async def test_tls_runs_inside_tls() -> None:
    client, server = await over(*await tls_pair())
    await client.send_all(b"deep")

    assert await server.receive_some() == b"deep"


async def test_a_failure_is_told_even_if_the_peer_has_gone() -> None:
    near, far = stream_pair()
    await far.send_all(b"no TLS at all")
    await far.aclose()

    with pytest.raises(trio.BrokenResourceError):
        await near.start_tls(CLIENTS, server_side=False)


async def test_the_peer_is_sent_the_alert() -> None:
    near, far = stream_pair()
    await far.send_all(b"\x16\x03\x03\x00\x04\xff\x00\x00\x00")

    with pytest.raises(HandshakeBroken) as caught:
        await near.start_tls(CLIENTS, server_side=False)

    assert caught.value.result == "protocol"
    assert b"\x15\x03" in await far.receive_some()
