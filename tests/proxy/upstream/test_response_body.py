from __future__ import annotations

import pytest
import trio
from trio.testing import assert_checkpoints

from meshfilters.errors import UpstreamProtocolError, UpstreamReset
from meshfilters.testing import read
from proxy.codec import h1
from proxy.codec.h1.framing import AT_A_STRETCH
from proxy.upstream.response_body import ResponseBody


class Scripted:
    """A connection that receives what the test gives it."""

    def __init__(self, *chunks: bytes) -> None:
        self.reader = h1.Reader()
        self.finished: list[bool] = []
        self.is_closed = False
        self._chunks = list(chunks)

    async def receive_body(self) -> bool:
        if not self._chunks:
            return False
        self.reader.feed(self._chunks.pop(0))
        return True

    def finish(self, keeps_alive: bool) -> None:
        self.finished.append(keeps_alive)

    async def join_pump(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


async def test_it_is_read_as_it_comes_and_then_its_connection_is_free() -> None:
    connection = Scripted(b"ab", b"cde")
    body = ResponseBody(connection, h1.Sized(5), True)

    assert await body.receive() == b"ab"
    assert connection.finished == []
    assert await body.receive() == b"cde"
    assert connection.finished == [True]
    assert await body.receive() == b""


async def test_what_is_here_already_is_whole() -> None:
    connection = Scripted()
    connection.reader.feed(b"abcde")

    body = ResponseBody(connection, h1.Sized(5), False).whole()

    assert body is not None
    assert body.data == b"abcde"
    assert connection.finished == [False]


async def test_what_is_partly_here_is_not_whole() -> None:
    connection = Scripted(b"cde")
    connection.reader.feed(b"ab")
    body = ResponseBody(connection, h1.Sized(5), True)

    assert body.whole() is None
    assert body.length == 5
    assert await read(body) == b"abcde"


async def test_what_was_closed_does_not_look_whole() -> None:
    body = ResponseBody(Scripted(b"2\r\nab\r\n"), h1.Chunked(), True)
    await body.receive()
    await body.aclose()

    with pytest.raises(trio.ClosedResourceError):
        await body.receive()


async def test_trailers_are_there_at_the_end() -> None:
    connection = Scripted(b"2\r\nab\r\n0\r\ngrpc-status: 0\r\n\r\n")
    body = ResponseBody(connection, h1.Chunked(), True)

    assert await read(body) == b"ab"
    assert body.trailers.get(b"grpc-status") == b"0"


async def test_an_end_in_the_middle_is_a_reset() -> None:
    connection = Scripted(b"ab")
    body = ResponseBody(connection, h1.Sized(5), True)
    await body.receive()

    with pytest.raises(UpstreamReset, match="middle"):
        await body.receive()

    assert connection.is_closed


async def test_the_end_of_the_connection_may_be_the_end_of_the_body() -> None:
    connection = Scripted(b"ab", b"c")
    body = ResponseBody(connection, h1.UntilClose(), False)

    assert await read(body) == b"abc"
    assert connection.is_closed


async def test_broken_framing_closes_the_connection() -> None:
    connection = Scripted(b"zz\r\n")
    body = ResponseBody(connection, h1.Chunked(), True)

    with pytest.raises(UpstreamProtocolError):
        await body.receive()

    assert connection.is_closed


@pytest.mark.parametrize(("here", "is_closed"), [(b"abcde", False), (b"ab", True)])
async def test_dropping_it_keeps_the_connection_only_if_all_is_here(
    here: bytes, is_closed: bool
) -> None:
    connection = Scripted()
    connection.reader.feed(here)

    await ResponseBody(connection, h1.Sized(5), True).aclose()

    assert connection.is_closed is is_closed
    assert connection.finished == ([] if is_closed else [True])


async def test_small_chunks_leave_others_their_turn() -> None:
    small = b"1\r\na\r\n" * AT_A_STRETCH
    body = ResponseBody(Scripted(2 * small + b"0\r\n\r\n"), h1.Chunked(), True)

    assert await body.receive() == b"a" * AT_A_STRETCH
    with assert_checkpoints():
        assert await body.receive() == b"a" * AT_A_STRETCH
    assert await read(body) == b""
