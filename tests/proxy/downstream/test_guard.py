from __future__ import annotations

import math

import pytest
import trio
from OpenSSL import SSL

from meshfilters.memory import stream_pair
from meshfilters.stream import HandshakeBroken
from proxy.downstream.guard import Guarded

LATER = 60.0


class Client:
    """A client's end, and the guard before the service."""

    def __init__(self, first: bytes = b"") -> None:
        self.scope = trio.CancelScope(deadline=trio.current_time() + LATER)
        self.stream, self.ours = stream_pair()
        self.guarded = Guarded(self.ours, first, self.scope)

    async def passes(self, data: bytes) -> bytes | None:
        """What of ``data`` goes on; None when the scope was cancelled instead."""
        await self.stream.send_all(data)
        with self.scope:
            return await self.guarded.receive_some()
        return None

    @property
    def is_let_go(self) -> bool:
        return self.guarded.has_moved and self.scope.deadline == math.inf


async def test_opaque_bytes_pass_and_are_looked_at_no_more() -> None:
    client = Client()

    with client.scope:
        for data in (b"{", b"EHLO a\n", b"GET / HTTP/1.1\r\n"):
            await client.stream.send_all(data)
            assert await client.guarded.receive_some() == data
    assert client.guarded.kind is None
    assert client.is_let_go


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"GET / HTTP/1.1\r\n", "http1"),
        (b"G\xe9T / HTTP/1.1", "http1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM", "http2"),
    ],
)
async def test_a_request_is_kept_back(data: bytes, kind: str) -> None:
    client = Client()

    assert await client.passes(data) is None
    assert (client.guarded.kind, client.guarded.first) == (kind, data)
    assert not client.guarded.has_moved


async def test_what_makes_a_request_of_what_went_on_before_is_kept_back() -> None:
    client = Client(b"PUR")

    assert client.is_let_go
    assert await client.passes(b"GE /a HTTP/1.1") is None
    assert client.guarded.first == b"PURGE /a HTTP/1.1"


async def test_a_server_that_speaks_first_is_heard() -> None:
    client = Client()
    await client.guarded.send_all(b"220 ")

    assert await client.stream.receive_some() == b"220 "
    assert client.is_let_go


async def test_the_last_byte_passes_both_ways() -> None:
    client = Client()
    await client.stream.send_eof()
    await client.guarded.send_eof()

    assert await client.guarded.receive_some() == b""
    assert await client.stream.receive_some() == b""


async def test_it_is_a_stream_in_all_else() -> None:
    client = Client()
    await client.stream.send_all(b"hello, no TLS at all\n")

    assert await client.guarded.peek(2) == b"he"
    assert await client.guarded.receive_some(3) == b"hel"
    assert client.guarded.tls is None
    with pytest.raises(HandshakeBroken):
        await client.guarded.start_tls(SSL.Context(SSL.TLS_METHOD), server_side=True)
    await client.guarded.aclose()
    assert client.ours.is_closed
