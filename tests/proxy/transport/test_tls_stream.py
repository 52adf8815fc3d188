from __future__ import annotations

import hashlib
import hmac
import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL

from meshfilters import openssl
from meshfilters.certificates import Material
from meshfilters.stream import HandshakeBroken
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream
from proxy.transport.tls_stream import RECORD, TURN, TlsStream
from tests.authority import API, WEB, Issued, root

ROOT = root()
SERVER = ROOT.issue(uris=[API], dns=["api.test"])
CLIENT = ROOT.issue(uris=[WEB])


def material(issued: Issued) -> Material:
    return Material((issued.certificate,), issued.key, (ROOT.certificate,))


def server_context(minimum: float = 1.3, alpn: tuple[str, ...] = ()) -> SSL.Context:
    return openssl.server_context(
        material(SERVER), minimum=minimum, alpn=alpn, is_client_required=True
    )


def client_context(minimum: float = 1.3, alpn: tuple[str, ...] = ()) -> SSL.Context:
    return openssl.client_context(material(CLIENT), minimum=minimum, alpn=alpn)


class Pairs:
    """Makes connected streams on one epoll, and closes what it made."""

    def __init__(self) -> None:
        self.readiness = Readiness()
        self.server = server_context()
        self.client = client_context()
        self.made: list[SocketStream] = []

    def plain(self) -> tuple[SocketStream, SocketStream]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            there = socket.create_connection(listener.getsockname())
            here, _ = listener.accept()
        return self.wrap(there), self.wrap(here)

    def wrap(self, sock: socket.socket) -> SocketStream:
        sock.setblocking(False)
        self.made.append(SocketStream(sock, self.readiness))
        return self.made[-1]

    async def tls(self) -> tuple[TlsStream, TlsStream]:
        """The client's end and the server's."""
        client, server = self.plain()
        return await self.over(client, server)

    async def over(
        self, client: SocketStream, server: SocketStream
    ) -> tuple[TlsStream, TlsStream]:
        found: dict[str, TlsStream] = {}

        async def accept() -> None:
            # What is peeked is still part of the handshake.
            assert await server.peek(2) == b"\x16\x03"
            stream = await server.start_tls(self.server, server_side=True)
            assert isinstance(stream, TlsStream)
            found["server"] = stream

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            stream = await client.start_tls(
                self.client, server_side=False, server_name="api.test"
            )
        assert isinstance(stream, TlsStream)
        return stream, found["server"]


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.lowlevel.checkpoint()


async def receive_all(stream: TlsStream) -> bytes:
    received = bytearray()
    while data := await stream.receive_soon():
        received += data
    return bytes(received)


@pytest.fixture
async def pairs() -> AsyncIterator[Pairs]:
    pairs = Pairs()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pairs.readiness.run)
        yield pairs
        for each in pairs.made:
            each.close()
        nursery.cancel_scope.cancel()
    pairs.readiness.close()


@pytest.mark.slow
async def test_it_keeps_the_contract_of_a_half_closeable_stream(pairs: Pairs) -> None:
    # No clogged streams: one whose write is under way is the only clogged TLS there is.
    await trio.testing.check_half_closeable_stream(pairs.tls, None)


@pytest.mark.slow
async def test_so_it_does_with_tls_1_2(pairs: Pairs) -> None:
    pairs.server, pairs.client = server_context(1.2), client_context(1.2)
    pairs.client.set_max_proto_version(SSL.TLS1_2_VERSION)

    await trio.testing.check_half_closeable_stream(pairs.tls, None)


async def test_both_ends_know_whom_they_talk_to(pairs: Pairs) -> None:
    pairs.server = server_context(alpn=("http/1.1",))
    pairs.client = client_context(alpn=("h2", "http/1.1"))

    client, server = await pairs.tls()

    assert client.tls is not None
    assert server.tls is not None
    assert client.tls.peer is not None
    assert server.tls.peer is not None
    assert client.tls.peer.identity == API
    assert server.tls.peer.identity == WEB
    assert server.tls.server_name == "api.test"
    assert server.tls.alpn == client.tls.alpn == "http/1.1"
    assert server.tls.version == "TLSv1.3"


async def test_a_peek_is_received_again(pairs: Pairs) -> None:
    client, server = await pairs.tls()
    await client.send_all(b"ab")

    assert await server.peek(1) == b"a"
    await client.send_all(b"c")
    assert await server.peek(9, at_least=3) == b"abc"
    assert await server.receive_some(2) == b"ab"
    assert await server.receive_soon() == b"c"


async def test_a_peek_for_more_than_comes_ends_with_the_stream(pairs: Pairs) -> None:
    client, server = await pairs.tls()
    await client.send_all(b"ab")
    await client.send_eof()

    assert await server.peek(9, at_least=3) == b"ab"


async def test_records_that_have_come_are_received_together(pairs: Pairs) -> None:
    # What is sent between UNIX sockets has come at once.
    client, server = await pairs.over(*map(pairs.wrap, socket.socketpair()))
    await client.send_all(bytes(3 * RECORD + 5))

    assert len(await server.receive_soon()) == 3 * RECORD + 5


async def test_a_long_body_goes_through_full_buffers_whole(pairs: Pairs) -> None:
    client, server = await pairs.tls()
    sent = bytes(range(256)) * 40_000

    async def send() -> None:
        await client.send_soon(sent)
        await client.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)

        assert await receive_all(server) == sent


async def test_a_cut_connection_is_no_end(pairs: Pairs) -> None:
    client, server = await pairs.tls()
    await client.send_all(b"half a body")
    assert not client.is_stale  # takes the session tickets: no reset in the way
    client.close()

    assert await server.receive_some() == b"half a body"
    with pytest.raises(trio.BrokenResourceError, match="without ending its TLS"):
        await server.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()


async def test_nothing_is_sent_behind_a_record_that_was_cut_short(pairs: Pairs) -> None:
    client, server = await pairs.tls()
    with trio.move_on_after(0) as scope:
        await client.send_soon(bytes(50_000_000))
    assert scope.cancelled_caught

    with pytest.raises(trio.BrokenResourceError, match="amid a record"):
        await client.send_all(b"x")
    with pytest.raises(trio.BrokenResourceError, match="amid a record"):
        await client.send_eof()
    await client.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await receive_all(server)


@pytest.mark.parametrize("call", [TlsStream.send_all, TlsStream.send_soon])
async def test_one_task_sends_at_a_time(
    pairs: Pairs, call: Callable[[TlsStream, bytes], object]
) -> None:
    client, _ = await pairs.tls()

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(bytes(50_000_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await call(client, b"x")  # type: ignore[misc]  # it is one of the two above
        with pytest.raises(trio.BusyResourceError):
            await client.send_eof()
        with pytest.raises(trio.BusyResourceError):
            await client.wait_send_all_might_not_block()
        client.close()


async def test_who_waits_for_room_is_told_of_the_end(pairs: Pairs) -> None:
    client, _ = await pairs.tls()
    under = pairs.made[-2].socket
    with suppress(BlockingIOError):
        while True:  # until the kernel has no room for more
            under.send(bytes(100_000))

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await client.wait_send_all_might_not_block()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            client.close()


async def test_a_closed_stream_never_touches_who_has_its_number_next(
    pairs: Pairs,
) -> None:
    client, _ = await pairs.tls()
    number = pairs.made[-2].socket.fileno()
    pairs.made[-2].close()
    other, peer = pairs.plain()
    assert number in {each.socket.fileno() for each in (other, peer)}

    for call in (client.receive_some, client.receive_soon, client.aclose):
        try:
            await call()
        except trio.ClosedResourceError:
            pass
        else:
            assert call == client.aclose
    with pytest.raises(trio.ClosedResourceError):
        await client.send_soon(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await client.send_eof()
    await other.send_all(b"y")

    assert await peer.receive_some() == b"y"
    assert client.is_stale


async def test_a_stale_stream_is_one_where_something_came(pairs: Pairs) -> None:
    client, server = await pairs.tls()
    before = [client.is_stale, client.is_stale]
    await server.send_all(b"unasked")
    await until(lambda: client.watch.readable)

    assert before == [False, False]
    assert client.is_stale
    assert await client.receive_some() == b"unasked"


async def test_a_stream_is_stale_once_its_peer_has_gone(pairs: Pairs) -> None:
    client, server = await pairs.tls()
    gone: list[str] = []
    client.on_hangup(lambda: gone.append("server"))
    await server.aclose()
    await until(lambda: client.watch.has_hung_up)

    assert client.is_stale
    assert gone == ["server"]


async def test_a_failure_on_one_connection_leaves_the_others_alone(
    pairs: Pairs,
) -> None:
    client, server = await pairs.tls()
    garbled, victim = await pairs.tls()
    pairs.made[-2].socket.send(b"this is no record at all")
    with pytest.raises(trio.BrokenResourceError):
        await victim.receive_some()

    assert not server.is_stale
    await client.send_all(b"x")
    assert await server.receive_some() == b"x"
    assert repr(garbled).startswith("<TlsStream TLSv1.3 on <SocketStream fd")


async def test_plain_bytes_break_the_handshake(pairs: Pairs) -> None:
    client, server = pairs.plain()
    await client.send_all(b"GET / HTTP/1.1\r\n\r\n")

    with pytest.raises(HandshakeBroken) as caught:
        await server.start_tls(pairs.server, server_side=True)
    assert caught.value.result == "protocol"


async def test_a_client_that_leaves_breaks_the_handshake(pairs: Pairs) -> None:
    client, server = pairs.plain()
    await client.send_all(b"\x16\x03\x01")
    client.close()

    with pytest.raises(HandshakeBroken) as caught:
        await server.start_tls(pairs.server, server_side=True)
    assert caught.value.result == "closed"


async def test_a_handshake_can_be_cancelled(pairs: Pairs) -> None:
    _, server = pairs.plain()

    with trio.move_on_after(0) as scope:
        await server.start_tls(pairs.server, server_side=True)

    assert scope.cancelled_caught
    assert server.watch.reader is None


async def test_tls_runs_inside_tls(pairs: Pairs) -> None:
    client, server = await pairs.tls()

    async def answer() -> None:
        inside = await server.start_tls(pairs.server, server_side=True)
        await inside.send_all(await inside.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        inside = await client.start_tls(pairs.client, server_side=False)
        await inside.send_all(b"deep")

        assert await inside.receive_some() == b"deep"


class Reluctant:
    """Wants the other direction first, as amid a KeyUpdate, and writes by threes."""

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection
        self.wants: list[SSL.Error] = []

    def recv(self, size: int) -> bytes:
        if self.wants:
            raise self.wants.pop()
        return self.connection.recv(size)

    def send(self, data: bytes) -> int:
        if self.wants:
            raise self.wants.pop()
        return self.connection.send(data[:3])

    def do_handshake(self) -> None:
        if self.wants:
            raise self.wants.pop()
        self.connection.do_handshake()

    def __getattr__(self, name: str) -> object:
        return getattr(self.connection, name)


async def test_reading_may_have_to_wait_for_writing_and_the_reverse(
    pairs: Pairs,
) -> None:
    client, server = await pairs.tls()
    reluctant = Reluctant(client._connection)
    stream = TlsStream(pairs.made[-2], reluctant)  # type: ignore[arg-type]  # stands in
    await server.send_all(b"there")

    reluctant.wants = [SSL.WantWriteError()]
    assert await stream.receive_some() == b"there"
    await server.send_all(b"again")
    reluctant.wants = [SSL.WantReadError()]
    await stream.send_soon(b"back")

    assert await server.peek(4, at_least=4) == b"back"
    assert await stream.receive_some() == b"again"


async def test_a_wait_for_the_other_direction_ends_when_it_is_closed(
    pairs: Pairs,
) -> None:
    client, _ = await pairs.tls()
    assert not client.is_stale  # nothing is left that could be read
    reluctant = Reluctant(client._connection)
    stream = TlsStream(pairs.made[-2], reluctant)  # type: ignore[arg-type]  # stands in
    reluctant.wants = [SSL.WantReadError()]

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        stream.close()


async def test_a_handshake_may_have_to_wait_for_room(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Reluctant] = []
    client, server = pairs.plain()

    def connection(*given: object, **more: object) -> Reluctant:
        made.append(Reluctant(make(*given, **more)))  # type: ignore[arg-type]  # as given
        made[-1].wants = [SSL.WantWriteError()]
        return made[-1]

    make = openssl.connection
    monkeypatch.setattr(openssl, "connection", connection)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_nudge, client, server)
        secured, _ = await pairs.over(client, server)
        nursery.cancel_scope.cancel()

    assert len(made) == 2
    assert secured.tls is not None


async def _nudge(*streams: SocketStream) -> None:
    """Wake who waits to write, as an edge does."""
    while True:
        for each in streams:
            each.watch.notice(select.EPOLLOUT)
        await trio.lowlevel.checkpoint()


async def test_what_fits_in_is_sent_without_waiting(pairs: Pairs) -> None:
    client, server = await pairs.tls()
    data = bytes(range(256)) * 40_000
    rest = memoryview(data)
    received = b""

    # A record that is half out is gone on with: what comes is whole and in order.
    while rest or len(received) < len(data):
        rest = rest[client.send_nowait(rest) :] if rest else rest
        received += await server.receive_soon()

    assert received == data


async def test_sending_without_waiting_keeps_its_turn_and_its_end(
    pairs: Pairs,
) -> None:
    client, server = await pairs.tls()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, bytes(50_000_000))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            client.send_nowait(b"x")
        nursery.cancel_scope.cancel()

    client, server = await pairs.tls()
    await client.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        client.send_nowait(b"x")
    assert await server.receive_soon() == b""
    server.close()
    with pytest.raises(trio.ClosedResourceError):
        server.send_nowait(b"x")


def expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, 7.1) of SHA-384, with no context."""
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0\1"
    return hmac.digest(secret, info, hashlib.sha384)[:size]


def key_updates(secret: bytes, count: int, behind: bytes) -> bytes:
    """Records of a client: so many KeyUpdates, and one of the application's."""
    update, data = b"\x18\0\0\1\0\x16", behind + b"\x17"
    records = b""
    for content in [update] * count + [data]:
        head = b"\x17\3\3" + (len(content) + 16).to_bytes(2, "big")
        key, nonce = expand(secret, b"key", 32), expand(secret, b"iv", 12)
        records += head + AESGCM(key).encrypt(nonce, content, head)
        secret = expand(secret, b"traffic upd", 48)
    return records


async def hear_key_updates(pairs: Pairs, count: int) -> TlsStream:
    """A server's end that KeyUpdates have come to, and a word behind them."""
    secrets: dict[bytes, bytes] = {}

    def keep(_: SSL.Connection, line: bytes) -> None:
        name, _random, secret = line.split()
        secrets[name] = bytes.fromhex(secret.decode())

    pairs.client.set_keylog_callback(keep)
    client, server = await pairs.tls()
    assert client.tls is not None
    assert client.tls.cipher == "TLS_AES_256_GCM_SHA384"
    records = key_updates(secrets[b"CLIENT_TRAFFIC_SECRET_0"], count, b"a word")
    await client._under.send_all(records)
    return server


async def test_key_updates_without_end_leave_others_their_turn(pairs: Pairs) -> None:
    server = await hear_key_updates(pairs, 10 * TURN)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        word = await server.receive_soon()
        nursery.cancel_scope.cancel()

    assert word == b"a word"
    assert turns >= 9


async def test_an_end_behind_a_key_update_is_found(pairs: Pairs) -> None:
    server = await hear_key_updates(pairs, 1)
    assert await server.receive_soon() == b"a word"
    client = pairs.made[-2]
    client.socket.shutdown(socket.SHUT_WR)
    await until(lambda: server.watch.has_hung_up)

    with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
        await server.receive_soon()


async def test_an_unused_stream_is_not_searched_without_end(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await hear_key_updates(pairs, 2 * TURN)
    await until(lambda: server.watch.readable)
    reads: list[int] = []
    receive = server._recv

    def counted(size: int, flags: int | None = None) -> bytes:
        reads.append(size)
        return receive(size, flags)

    monkeypatch.setattr(server, "_recv", counted)

    assert server.is_stale
    assert len(reads) == TURN
    assert await server.receive_some() == b"a word"
