"""A stream of HTTP/2 is a stream of bytes, with both its ends."""

from __future__ import annotations

import pytest
import trio

from meshfilters.errors import ClientGone
from proxy.codec.h2.codec import CANCEL
from proxy.transport.http2.channel import Channel
from proxy.transport.http2.tunnel import ChannelStream
from tests.proxy.transport.http2.test_channel import Connection


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def channel(connection: Connection) -> Channel:
    return Channel(connection, 1)  # type: ignore[arg-type]  # all that is asked of one


async def test_bytes_go_both_ways(channel: Channel, connection: Connection) -> None:
    stream = ChannelStream(channel)
    channel.feed(b"abcdef", True)
    assert await stream.peek(2) == b"ab"
    assert await stream.receive_some(4) == b"abcd"
    assert await stream.receive_some() == b"ef"
    assert await stream.receive_some() == b""
    await stream.send_all(b"x")
    await stream.send_eof()
    await stream.send_eof()
    await stream.aclose()

    assert connection.sent == [(b"x", False), (b"", True)]
    assert connection.resets == []


async def test_closing_early_resets(channel: Channel, connection: Connection) -> None:
    await ChannelStream(channel).aclose()

    assert connection.resets == [CANCEL]


async def test_a_broken_stream_is_broken(
    channel: Channel, connection: Connection
) -> None:
    stream = ChannelStream(channel)
    channel.close(CANCEL, ClientGone())
    connection.is_gone = True

    for call in (stream.receive_some, stream.send_eof, lambda: stream.send_all(b"x")):
        with pytest.raises(trio.BrokenResourceError):
            await call()
    with pytest.raises(trio.BrokenResourceError):
        await stream.start_tls(None, server_side=True)  # type: ignore[arg-type]  # none is looked at
