from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from meshfilters.message import Request, Response
from tests.proxy.downstream.served import GET, OK_CLOSE, Served, ok


@pytest.fixture(autouse=True)
def clock(mock_clock: MockClock) -> MockClock:
    return mock_clock


async def answer(request: Request, /) -> Response:
    return ok()


async def test_a_retired_server_keeps_its_filters_for_those_on_their_way(
    nursery: trio.Nursery,
) -> None:
    served = Served(nursery, answer)
    client = served.connect()
    served.http.retire()
    assert served.closed == []

    assert await client.ask(GET) == OK_CLOSE
    assert served.closed == ["record"]


async def test_a_retired_server_without_connections_closes_its_filters(
    nursery: trio.Nursery,
) -> None:
    served = Served(nursery, answer)

    served.http.retire()

    assert served.closed == ["record"]
