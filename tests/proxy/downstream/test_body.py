"""A request's body, taken off its connection as somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import trio
from trio.testing import assert_checkpoints, assert_no_checkpoints

from meshfilters.errors import BadRequest, ClientGone
from meshfilters.message import Headers
from meshfilters.testing import read
from proxy.codec.h1 import Chunked, Decoder, Reader, Sized
from proxy.codec.h1.framing import AT_A_STRETCH
from proxy.downstream.body import RequestBody


class Peer:
    """A client whose bytes the test has ready; ``b""`` is its end."""

    def __init__(self, here: bytes = b"", coming: Iterable[bytes] = ()) -> None:
        self.reader = Reader(here)
        self.coming = list(coming)
        self.continued = 0
        self.touched = 0
        self.error: Exception | None = None
        self.watched: list[bool] = []
        self.body: RequestBody | None = None

    async def receive(self) -> bytes:
        if self.body is not None:
            self.watched.append(self.body.is_awaited)
        if self.error is not None:
            raise self.error
        return self.coming.pop(0)

    async def send_continue(self) -> None:
        self.continued += 1

    def touch(self) -> None:
        self.touched += 1


def body_of(
    peer: Peer, decoder: Decoder, *, expects: bool = False, limit: int | None = None
) -> RequestBody:
    peer.body = RequestBody(peer, decoder, expects, limit)
    return peer.body


async def test_a_body_ends_with_its_last_byte_and_leaves_the_rest() -> None:
    peer = Peer(b"ab", [b"cd", b"efNEXT"])
    body = body_of(peer, Sized(6))

    assert await read(body) == b"abcdef"
    assert await body.receive() == b""
    assert body.received == 6
    assert body.is_done
    assert peer.reader.take(4) == b"NEXT"
    assert peer.touched == 2


async def test_a_body_that_is_here_costs_no_wait() -> None:
    peer = Peer(b"abcNEXT")
    body = body_of(peer, Sized(3), expects=True)

    whole = body.whole()

    assert whole is not None
    assert whole.data == b"abc"
    assert body.received == 3
    assert body.may_continue()
    assert peer.reader.take(4) == b"NEXT"


@pytest.mark.parametrize(
    ("decoder", "here"), [(Sized(3), b"ab"), (Chunked(), b"0\r\n\r\n")]
)
async def test_what_is_not_known_to_be_here_is_streamed(
    decoder: Decoder, here: bytes
) -> None:
    assert body_of(Peer(here), decoder).whole() is None


async def test_a_chunked_body_has_no_length_and_trailers_at_its_end() -> None:
    peer = Peer(b"2\r\nab\r\n", [b"1\r\nc\r\n0\r\nx: 1\r\n\r\n"])
    body = body_of(peer, Chunked())

    assert body.length is None
    assert await read(body) == b"abc"
    assert body.trailers == Headers([(b"x", b"1")])


async def test_the_client_is_watched_only_while_it_is_waited_for() -> None:
    peer = Peer(b"a", [b"b"])
    body = body_of(peer, Sized(2))

    await read(body)

    assert peer.watched == [True]
    assert not body.is_awaited


async def test_continue_is_asked_for_once_and_not_before() -> None:
    peer = Peer(b"", [b"a", b"b"])
    body = body_of(peer, Sized(2), expects=True)
    assert not body.may_continue()
    assert not body.discard()
    assert peer.continued == 0

    await read(body)

    assert peer.continued == 1
    assert body.may_continue()


async def test_a_client_that_ends_midway_has_gone() -> None:
    body = body_of(Peer(b"a", [b""]), Sized(2))
    await body.receive()

    with pytest.raises(ClientGone, match="middle of its request"):
        await body.receive()


@pytest.mark.parametrize(
    "error", [trio.BrokenResourceError("reset"), trio.ClosedResourceError()]
)
async def test_a_broken_connection_is_a_client_gone(error: Exception) -> None:
    peer = Peer()
    peer.error = error
    body = body_of(peer, Sized(2))

    with pytest.raises(ClientGone):
        await body.receive()
    assert not body.is_awaited


async def test_broken_framing_is_the_clients_fault() -> None:
    body = body_of(Peer(b"zz\r\n"), Chunked())

    with pytest.raises(BadRequest) as caught:
        await body.receive()

    assert caught.value.status == 400
    assert caught.value.by == "proxy"
    with pytest.raises(trio.ClosedResourceError):
        await body.receive()


async def test_a_chunk_over_the_limit_is_413() -> None:
    peer = Peer(b"2\r\nab\r\n2\r\ncd\r\n")
    body = body_of(peer, Chunked(), limit=3)

    with pytest.raises(BadRequest) as caught:
        await read(body)

    assert caught.value.status == 413
    with pytest.raises(trio.ClosedResourceError):
        await body.receive()


@pytest.mark.parametrize(
    ("length", "limit", "passes"), [(3, 3, True), (4, 3, False), (4, None, True)]
)
def test_a_length_is_checked_by_the_head(
    length: int, limit: int | None, passes: bool
) -> None:
    body = body_of(Peer(), Sized(length), limit=limit)

    if passes:
        body.check_length()
    else:
        with pytest.raises(BadRequest, match="body over 3 bytes"):
            body.check_length()


async def test_a_closed_body_is_read_no_more() -> None:
    body = body_of(Peer(b"a"), Sized(2))

    await body.aclose()
    await body.aclose()

    with pytest.raises(trio.ClosedResourceError):
        await body.receive()


@pytest.mark.parametrize(
    ("decoder", "here", "is_all"),
    [
        (Sized(2), b"ab", True),
        (Sized(3), b"ab", False),
        (Chunked(), b"2\r\nab\r\n0\r\n\r\n", True),
        (Chunked(), b"2\r\nab\r\n", False),
        (Chunked(), b"zz\r\n", False),
    ],
)
def test_what_is_here_is_dropped(decoder: Decoder, here: bytes, is_all: bool) -> None:
    assert body_of(Peer(here), decoder).discard() == is_all


SMALL = b"1\r\na\r\n" * AT_A_STRETCH


async def test_small_chunks_leave_others_their_turn() -> None:
    body = body_of(Peer(2 * SMALL + b"0\r\n\r\n"), Chunked())

    with assert_no_checkpoints():
        assert await body.receive() == b"a" * AT_A_STRETCH
    with assert_checkpoints():
        assert await body.receive() == b"a" * AT_A_STRETCH
    with assert_checkpoints():
        assert await body.receive() == b""


async def test_no_more_than_a_stretch_of_small_chunks_is_dropped_unread() -> None:
    peer = Peer(2 * SMALL + b"0\r\n\r\n")

    assert not body_of(peer, Chunked()).discard()
    assert len(peer.reader) > len(SMALL)
