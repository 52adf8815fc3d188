"""What is the same of an exchange, whatever its protocol, is the same code."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from meshfilters.message import Buffered, Request, Response
from proxy.downstream.lane import Lane
from proxy.downstream.serving import Serving
from proxy.downstream.session import Session
from tests.proxy.downstream.http2_served import http2_served
from tests.proxy.downstream.served import GET


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def test_both_protocols_serve_alike() -> None:
    for each in (Session, Lane):
        assert issubclass(each, Serving)
        for name in ("_serve_exchange", "_finish", "_answer", "rearm", "cancel"):
            assert getattr(each, name) is getattr(Serving, name)


async def test_an_exchange_ends_alike(clock: MockClock) -> None:
    async def service(request: Request, /) -> Response:
        request.exchange.start_soon(never)
        return Response(200, body=Buffered(b"ok"))

    async def never() -> None:
        import trio

        await trio.sleep_forever()

    async with http2_served(service) as (served, client):
        await client.ask()
        other = served.connect()
        await other.ask(GET)

        one, two = served.outcomes
        for name in ("status", "error", "received", "sent", "attempts"):
            assert getattr(one, name) == getattr(two, name), name
        assert len(served.side_tasks) == 0
