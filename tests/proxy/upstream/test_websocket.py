"""A WebSocket's handshake is the same to filters, whatever the upstream speaks."""

from __future__ import annotations

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.message import EMPTY, Headers, Request, Response
from meshfilters.stream import Tls
from proxy.codec import h2
from proxy.upstream.websocket import accept_of, as_extended_connect, is_websocket
from tests.proxy.upstream.bench import Bench, heard
from tests.proxy.upstream.http2_bench import http2_bench

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
"""RFC 6455's example."""
UPGRADE = ((b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", KEY))
SOCKETS = h2.Settings(allows_connect_protocol=True)


def test_the_answer_to_a_key_is_the_rfcs() -> None:
    headers = Headers([(b"Sec-WebSocket-Key", KEY)])

    assert accept_of(headers) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("method", "upgrade", "expected"),
    [
        (b"GET", b"websocket", True),
        (b"GET", b"WebSocket", True),
        (b"POST", b"websocket", False),
        (b"GET", b"h2c, websocket", False),
    ],
)
def test_it_is_known_by_method_and_upgrade(
    method: bytes, upgrade: bytes, expected: bool
) -> None:
    request = Request(method, b"/", Headers([(b"upgrade", upgrade)]), "api", None)  # type: ignore[arg-type]  # asks for none

    assert is_websocket(request) is expected


def test_fields_of_http1_alone_are_left_out() -> None:
    given = Headers([*UPGRADE, (b"Sec-WebSocket-Version", b"13")])

    assert as_extended_connect(given).raw == [(b"Sec-WebSocket-Version", b"13")]
    assert len(given) == 3


async def test_it_goes_as_an_extended_connect_where_that_is_taken(
    bench: Bench, clock: MockClock
) -> None:
    bench.tls = Tls("TLSv1.3", "c", "h2", None, None)
    async with http2_bench(bench, protocol="auto", settings=SOCKETS) as place:
        await place.ask(bench.request())
        await place.peer.answer(1)
        asking = await place.ask(bench.request(b"GET", EMPTY, *UPGRADE))
        place.peer.codec.respond(3, [(b":status", b"200")], is_end=False)
        await place.peer.turn()

        assert place.asked()[b":method"] == b"CONNECT"
        assert place.asked()[b":protocol"] == b"websocket"
        assert place.asked()[b"sec-websocket-key"] is None
        response = asking.response
        assert response is not None
        assert response.status == 101
        assert asking.told(b"sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert response.upgrade is not None
        await response.upgrade.send_all(b"ping")
        place.peer.codec.send(3, b"pong", is_end=False)
        await place.peer.turn()
        assert place.asked().data == b"ping"
        assert await response.upgrade.receive_some() == b"pong"
        await response.upgrade.aclose()
        await place.peer.turn()
        assert place.asked().code == h2.CANCEL


@pytest.mark.parametrize("alpn", ["h2", "tulle/1"])
async def test_elsewhere_it_goes_on_an_http1_connection_beside(
    bench: Bench, clock: MockClock, alpn: str
) -> None:
    bench.tls = Tls("TLSv1.3", "c", alpn, None, None)
    settings = SOCKETS if alpn == "tulle/1" else h2.Settings()
    async with http2_bench(bench, protocol="auto", settings=settings) as place:
        await place.ask(bench.request())
        await place.peer.answer(1)
        place.peers.is_serving = False
        await place.ask(bench.request(b"GET", EMPTY, *UPGRADE))

        assert bench.endpoints[-1].alpn == ("http/1.1",)
        head = await heard(bench.peers[-1])
        assert head.startswith(b"GET / HTTP/1.1\r\n")
        assert b"Upgrade: websocket" in head


async def test_a_refusal_is_an_ordinary_response(
    bench: Bench, clock: MockClock
) -> None:
    async with http2_bench(bench, settings=SOCKETS) as place:
        asking = await place.ask(bench.request(b"GET", EMPTY, *UPGRADE))
        await place.peer.answer(1, b"403", body=b"no")
        await wait_all_tasks_blocked()

        assert isinstance(asking.response, Response)
        assert asking.response.status == 403
        assert asking.body == b"no"
