from __future__ import annotations

import subprocess
import sys

import pytest
import trio
import trio.testing
from OpenSSL import SSL

from meshfilters.memory import stream_pair
from meshfilters.stream import HandshakeBroken


async def test_what_one_end_sends_the_other_receives() -> None:
    near, far = stream_pair()
    await near.send_all(b"abc")

    assert await far.receive_some(2) == b"ab"
    assert await far.receive_some() == b"c"


async def test_a_peek_is_received_again() -> None:
    near, far = stream_pair()
    await near.send_all(b"abc")

    assert await far.peek(2) == b"ab"
    assert await far.receive_some(1) == b"a"
    assert await far.receive_some() == b"bc"


async def test_a_peek_may_wait_for_more() -> None:
    near, far = stream_pair()
    await near.send_all(b"a")

    async def more() -> None:
        await trio.testing.wait_all_tasks_blocked()
        await near.send_all(b"bc")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(more)
        assert await far.peek(9, at_least=2) == b"abc"


async def test_a_peek_ends_with_the_stream() -> None:
    near, far = stream_pair()
    await near.send_all(b"a")
    await near.send_eof()

    assert await far.peek(9, at_least=2) == b"a"
    assert await far.receive_some() == b"a"
    assert await far.peek(9) == b""


async def test_one_end_may_finish_before_the_other() -> None:
    near, far = stream_pair()
    await near.send_eof()
    await far.send_all(b"late")

    assert await far.receive_some() == b""
    assert await near.receive_some() == b"late"


async def test_a_closed_end_is_the_end_of_the_other() -> None:
    near, far = stream_pair()
    await near.aclose()
    await near.aclose()

    assert near.is_closed
    assert await far.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await far.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


async def test_it_can_start_tls() -> None:
    near, far = stream_pair()
    await far.send_all(b"no TLS at all")

    with pytest.raises(HandshakeBroken):
        await near.start_tls(SSL.Context(SSL.TLS_CLIENT_METHOD), server_side=False)


def test_openssl_is_not_imported_for_it() -> None:
    code = "import sys, meshfilters.testing; sys.exit('OpenSSL' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
