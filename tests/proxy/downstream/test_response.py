"""Responses as they are written to one client."""

from __future__ import annotations

import pytest
import trio

from meshfilters.errors import ClientGone, FilterFailed
from meshfilters.memory import MemoryStream, stream_pair
from meshfilters.message import Buffered, Headers, Response
from meshfilters.testing import Chunks
from proxy.codec.h1 import Reader, RequestHead, read_request
from proxy.config.model import Http
from proxy.downstream.response import ResponseWriter


class Peer:
    """A writer, and the client that it writes to."""

    def __init__(self) -> None:
        self.stream, self.far = stream_pair()
        self.now = 7.0
        self.writer = ResponseWriter(self.stream, lambda: self.now)

    async def received(self) -> bytes:
        await self.stream.send_eof()
        received = b""
        while data := await self.far.receive_some():
            received += data
        return received


def head(line: bytes = b"GET / HTTP/1.1") -> RequestHead:
    read = read_request(Reader(line + b"\r\nHost: a\r\n\r\n"), Http())
    assert read is not None
    return read


@pytest.fixture
def peer() -> Peer:
    return Peer()


async def test_a_body_that_is_here_leaves_with_its_head(peer: Peer) -> None:
    peer.writer.begin(head())

    assert await peer.writer.respond(Response(200, body=Buffered(b"ok")), closes=False)

    assert (peer.writer.status, peer.writer.sent) == (200, 2)
    assert peer.writer.head_at == peer.writer.touched == 7
    assert not peer.writer.is_sending
    assert await peer.received() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_body_partly_read_is_sent_as_far_as_it_is_left(peer: Peer) -> None:
    body = Buffered(b"ok")
    await body.receive()
    peer.writer.begin(head())

    with pytest.raises(FilterFailed, match="shorter than its length"):
        await peer.writer.respond(Response(200, body=body), closes=False)


async def test_closing_is_announced(peer: Peer) -> None:
    peer.writer.begin(head())

    await peer.writer.respond(Response(200), closes=True)

    assert b"\r\nConnection: close\r\n" in await peer.received()


async def test_an_unknown_length_is_chunked(peer: Peer) -> None:
    peer.writer.begin(head())
    body = Chunks(b"a", b"bc", trailers=[(b"x", b"1")])

    await peer.writer.respond(Response(200, body=body), closes=False)

    assert peer.writer.trailers == Headers([(b"x", b"1")])
    assert (await peer.received()).endswith(
        b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nx: 1\r\n\r\n"
    )


async def test_an_unknown_length_ends_http10_by_closing(peer: Peer) -> None:
    peer.writer.begin(head(b"GET / HTTP/1.0"))

    keeps = await peer.writer.respond(Response(200, body=Chunks(b"a")), closes=False)

    assert not keeps
    assert await peer.received() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\na"


async def test_http10_is_told_when_it_is_kept_alive(peer: Peer) -> None:
    peer.writer.begin(head(b"GET / HTTP/1.0"))

    assert await peer.writer.respond(Response(200), closes=False)

    assert b"\r\nConnection: keep-alive\r\n" in await peer.received()


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"HEAD / HTTP/1.1", 200), (b"GET / HTTP/1.1", 204), (b"GET / HTTP/1.1", 304)],
)
async def test_what_has_no_body_closes_the_one_it_was_given(
    peer: Peer, line: bytes, status: int
) -> None:
    body = Chunks(b"abc")
    peer.writer.begin(head(line))

    await peer.writer.respond(Response(status, body=body), closes=False)

    assert body.is_closed
    assert (await peer.received()).endswith(b"\r\n\r\n")


async def test_a_body_that_is_here_keeps_its_trailers(peer: Peer) -> None:
    body = Buffered(b"ok", Headers([(b"x-sum", b"6")]))
    peer.writer.begin(head())

    assert await peer.writer.respond(Response(200, body=body), closes=False)

    received = await peer.received()
    assert b"Content-Length" not in received
    assert received.endswith(b"\r\n\r\n2\r\nok\r\n0\r\nx-sum: 6\r\n\r\n")


async def test_without_trailers_the_headers_tell_the_end(peer: Peer) -> None:
    headers = Headers([(b"grpc-status", b"5")])
    peer.writer.begin(head())

    await peer.writer.respond(Response(200, headers), closes=False)

    assert peer.writer.trailers is headers


@pytest.mark.parametrize(
    ("length", "sent"), [(1, b"a"), (9, b"abc")], ids=["longer", "shorter"]
)
async def test_a_body_unlike_its_length_is_a_bug(
    peer: Peer, length: int, sent: bytes
) -> None:
    body = Chunks(b"a", b"bc", length=length)
    peer.writer.begin(head())

    with pytest.raises(FilterFailed, match="than its length"):
        await peer.writer.respond(Response(200, body=body), closes=False)

    assert body.is_closed
    assert (await peer.received()).endswith(b"\r\n\r\n" + sent)


async def test_a_head_that_cannot_be_written_is_a_bug(peer: Peer) -> None:
    body = Chunks(b"a")
    peer.writer.begin(head())

    with pytest.raises(FilterFailed):
        await peer.writer.respond(
            Response(200, Headers([(b"a b", b"")]), body), closes=False
        )

    assert body.is_closed
    assert peer.writer.status is None
    assert await peer.received() == b""


async def test_trailers_that_cannot_be_written_are_a_bug(peer: Peer) -> None:
    peer.writer.begin(head())
    body = Chunks(b"a", trailers=[(b"x", b"1\r\n")])

    with pytest.raises(FilterFailed):
        await peer.writer.respond(Response(200, body=body), closes=False)

    assert peer.writer.status == 200


async def test_a_client_that_is_not_there_has_gone(peer: Peer) -> None:
    await peer.far.aclose()
    body = Chunks(b"a")
    peer.writer.begin(head())

    with pytest.raises(ClientGone):
        await peer.writer.respond(Response(200, body=body), closes=False)

    assert body.is_closed


async def test_a_write_that_is_cancelled_is_remembered() -> None:
    class Full(MemoryStream):
        async def send_all(self, data: bytes) -> None:
            await trio.sleep_forever()

    one, _ = stream_pair()
    writer = ResponseWriter(Full(one._sender, one._receiver), lambda: 0)
    writer.begin(head())

    with trio.move_on_after(0):
        await writer.send_continue()

    assert writer.is_sending
    assert writer.status is None


async def test_one_request_has_one_response(peer: Peer) -> None:
    peer.writer.begin(head())
    await peer.writer.respond(Response(204), closes=False)

    with pytest.raises(FilterFailed, match="second response"):
        await peer.writer.respond(Response(204), closes=False)


async def test_nothing_answers_no_request(peer: Peer) -> None:
    with pytest.raises(FilterFailed, match="second response"):
        await peer.writer.respond(Response(204), closes=False)


async def test_informational_responses_come_before_the_head_or_not_at_all(
    peer: Peer,
) -> None:
    peer.writer.begin(head())
    await peer.writer.send_continue()
    await peer.writer.inform(103, Headers([(b"Link", b"</a>")]))
    await peer.writer.respond(Response(204), closes=False)
    await peer.writer.send_continue()
    await peer.writer.inform(103, Headers())

    assert await peer.received() == (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 204 No Content\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("status", "fields"),
    [(101, b"Upgrade: x\r\nConnection: upgrade\r\n"), (200, b"Upgrade: x\r\n")],
)
async def test_a_switch_is_a_head_and_no_more(
    peer: Peer, status: int, fields: bytes
) -> None:
    peer.writer.begin(head())

    await peer.writer.switch(Response(status, Headers([(b"Upgrade", b"x")])))

    assert peer.writer.status == status
    line, _, rest = (await peer.received()).partition(b"\r\n")
    assert line.startswith(b"HTTP/1.1 %d " % status)
    assert rest == fields + b"\r\n"


@pytest.mark.parametrize(("is_head", "body"), [(False, b"no"), (True, b"")])
async def test_a_refusal_closes(peer: Peer, is_head: bool, body: bytes) -> None:
    await peer.writer.refuse(Response(400, body=Buffered(b"no")), is_head=is_head)

    assert await peer.received() == (
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        + body
    )


async def test_a_new_request_forgets_the_last(peer: Peer) -> None:
    peer.writer.begin(head())
    await peer.writer.respond(Response(200, body=Buffered(b"ok")), closes=False)

    peer.writer.begin(head())

    assert (peer.writer.status, peer.writer.sent) == (None, 0)
    assert (peer.writer.head_at, peer.writer.trailers) == (None, None)


async def test_an_interim_status_ends_nothing(peer: Peer) -> None:
    peer.writer.begin(head(b"HEAD / HTTP/1.1"))

    with pytest.raises(FilterFailed, match="103 is no final response"):
        await peer.writer.respond(Response(103), closes=False)

    assert peer.writer.status is None
