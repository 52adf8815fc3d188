from __future__ import annotations

import pytest
import trio

from meshfilters.memory import stream_pair
from proxy.upstream.tunnel import Tunnel


async def test_what_came_early_comes_first() -> None:
    near, far = stream_pair()
    tunnel = Tunnel(near, b"early")
    await far.send_all(b"later")

    assert await tunnel.peek(3) == b"ear"
    assert await tunnel.receive_some(2) == b"ea"
    assert await tunnel.receive_some() == b"rly"
    assert await tunnel.receive_some() == b"later"


async def test_the_other_way_nothing_is_different() -> None:
    near, far = stream_pair()
    tunnel = Tunnel(near, b"early")

    await tunnel.send_all(b"hello")
    await tunnel.send_eof()

    assert await far.receive_some() == b"hello"
    assert await far.receive_some() == b""
    await tunnel.aclose()
    assert near.is_closed


async def test_it_cannot_be_peeked_past_what_came_early() -> None:
    tunnel = Tunnel(stream_pair()[0], b"early")

    with pytest.raises(trio.BrokenResourceError, match="past what came early"):
        await tunnel.peek(10, at_least=6)


async def test_tls_cannot_start_behind_bytes_already_read() -> None:
    tunnel = Tunnel(stream_pair()[0], b"early")

    with pytest.raises(trio.BrokenResourceError, match="already read"):
        await tunnel.start_tls(object(), server_side=False)  # type: ignore[arg-type]  # unused
