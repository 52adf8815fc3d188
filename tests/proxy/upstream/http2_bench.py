"""A pool whose endpoint speaks HTTP/2, and requests under way on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from meshfilters.errors import MeshError
from meshfilters.message import Headers, Request, Response
from meshfilters.testing import read
from proxy.codec import h2
from proxy.config import model
from proxy.upstream.forward import Forward
from proxy.upstream.pool import Pool
from proxy.upstream.service import Service, look_up
from tests.proxy.upstream.bench import Bench
from tests.proxy.upstream.peer import Asked, Peer, Peers


@attrs.define(eq=False)
class Asking:
    """One request, and how it came out."""

    request: Request
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    response: Response | None = None
    body: bytes = b""
    trailers: Headers | None = None
    error: MeshError | None = None
    is_over: bool = False

    def told(self, name: bytes) -> bytes | None:
        assert self.response is not None
        return self.response.headers.get(name)


class Http2Bench:
    """Asks as the runtime does: through Forward, with the exchange's scope."""

    def __init__(
        self, bench: Bench, nursery: trio.Nursery, peers: Peers, service: Service
    ) -> None:
        self.bench = bench
        self.peers = peers
        self.service = service
        self._nursery = nursery
        self._forward = Forward({"api": service}, trio.current_time)

    @property
    def pool(self) -> Pool:
        pool = self.service.choose()
        assert pool is not None
        return pool

    @property
    def peer(self) -> Peer:
        """The newest connection's far end."""
        return self.peers.peers[-1]

    def asked(self, number: int = -1) -> Asked:
        """A request as the newest peer got it."""
        return list(self.peer.asked.values())[number]

    async def ask(self, request: Request, *, reads: bool = True) -> Asking:
        """Ask, and let both sides go as far as they can."""
        asking = Asking(request)
        request.exchange._runtime.scope = asking.scope  # type: ignore[attr-defined]
        self._nursery.start_soon(self._run, asking, reads)
        await wait_all_tasks_blocked()
        return asking

    async def _run(self, asking: Asking, reads: bool) -> None:
        exchange = asking.request.exchange
        with asking.scope:
            try:
                asking.response = await self._forward(asking.request)
                if reads and asking.response.upgrade is None:
                    asking.body = await read(asking.response.body)
                    asking.trailers = asking.response.body.trailers
            except MeshError as error:
                asking.error = error
        if asking.scope.cancelled_caught:
            asking.error = exchange.reason
        await self.bench.side_tasks.join(exchange)
        asking.is_over = True


@asynccontextmanager
async def http2_bench(
    bench: Bench,
    *,
    protocol: model.ServiceProtocol = "http2",
    settings: h2.Settings | None = None,
    http2: model.Http2 | None = None,
) -> AsyncIterator[Http2Bench]:
    async with trio.open_nursery() as nursery:
        peers = Peers(bench, nursery, settings or h2.Settings())
        nursery.start_soon(peers.run)
        service = Service(
            model.Service(
                "api",
                ("192.0.2.1:80",),
                protocol=protocol,
                http2=http2 or model.Http2(),
            ),
            bench.dial,
            bench.deadlines,
            bench.side_tasks,
            Random(1),
            look_up,
        )
        yield Http2Bench(bench, nursery, peers, service)
        service.close()
        nursery.cancel_scope.cancel()
