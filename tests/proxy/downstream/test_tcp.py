"""Opaque connections: to one endpoint of a service, counted both ways."""

from __future__ import annotations

from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from meshfilters.counters import Metrics
from meshfilters.errors import ConnectFailed, MeshError
from meshfilters.exchange import Connection, Endpoint
from meshfilters.memory import MemoryStream, stream_pair
from meshfilters.stream import Stream
from proxy.chain.pipeline import Blame
from proxy.chain.side_tasks import SideTasks
from proxy.config import model
from proxy.downstream.tcp import Tcp
from proxy.transport.deadlines import Deadlines
from proxy.upstream.service import Service


class Opaque:
    """A service of one endpoint, and a client's connection to it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.metrics = Metrics()
        self.client, self.downstream = stream_pair()
        self.far: MemoryStream | None = None
        self.error: MeshError | None = None
        settings = model.Service("db", ("192.0.2.1:5432",))
        side_tasks = SideTasks(nursery, Blame(self.metrics))
        self.service = Service(
            settings,
            self._dial,
            Deadlines(trio.current_time),
            side_tasks,
            Random(0),
            self._look_up,
        )
        self.tcp = Tcp(lambda connection: "db", {"db": self.service}, self.metrics)

    async def _dial(self, endpoint: Endpoint) -> Stream:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        ours, self.far = stream_pair()
        return ours

    async def _look_up(self, host: str, port: int) -> list[str]:
        raise AssertionError("an address needs no lookup")

    async def run(self) -> None:
        connection = Connection(self.downstream, "192.0.2.9:1", "db", "outbound")
        await self.tcp(connection)

    def count(self, name: str) -> dict[tuple[str | int, ...], float]:
        return self.metrics.counter(f"tulle_tcp_{name}_total", "", ()).values

    def active(self) -> object:
        (pool,) = self.service.statistics()
        return pool["active"]


async def test_bytes_are_taken_both_ways_and_counted(nursery: trio.Nursery) -> None:
    opaque = Opaque(nursery)
    nursery.start_soon(opaque.run)
    await opaque.client.send_all(b"ask")
    await opaque.client.send_eof()
    await wait_all_tasks_blocked()

    assert opaque.far is not None
    assert await opaque.far.receive_some() == b"ask"
    assert opaque.active() == 1
    assert opaque.count("sent_bytes") == {("outbound", "db"): 3}  # while it is open
    await opaque.far.send_all(b"answer")
    await opaque.far.send_eof()
    assert await opaque.client.receive_some() == b"answer"
    await wait_all_tasks_blocked()

    assert opaque.count("sent_bytes") == {("outbound", "db"): 3}
    assert opaque.count("received_bytes") == {("outbound", "db"): 6}
    assert opaque.count("errors") == {}
    assert opaque.active() == 0


async def test_no_endpoint_is_an_error_and_counted(nursery: trio.Nursery) -> None:
    opaque = Opaque(nursery)
    opaque.error = ConnectFailed("refused")

    with pytest.raises(ConnectFailed):
        await opaque.run()

    assert opaque.count("errors") == {("outbound", "db", "connect failed"): 1}
    assert opaque.active() == 0


async def test_a_connection_that_breaks_is_counted(nursery: trio.Nursery) -> None:
    opaque = Opaque(nursery)
    nursery.start_soon(opaque.run)
    await wait_all_tasks_blocked()
    assert opaque.far is not None
    await opaque.far.aclose()

    await opaque.client.send_all(b"ask")
    await wait_all_tasks_blocked()

    assert opaque.count("errors") == {("outbound", "db", "broken"): 1}
    assert opaque.active() == 0


async def test_a_connection_that_is_cut_has_been_counted(
    nursery: trio.Nursery,
) -> None:
    opaque = Opaque(nursery)
    async with trio.open_nursery() as connections:
        connections.start_soon(opaque.run)
        await opaque.client.send_all(b"ask")
        await wait_all_tasks_blocked()
        connections.cancel_scope.cancel()

    assert opaque.count("sent_bytes") == {("outbound", "db"): 3}
    assert opaque.active() == 0
