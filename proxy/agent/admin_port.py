"""The admin port: the agent's request service on its sockets, by the data path's code.

A probe gets through whatever else is connected: where the cap is reached, whoever comes
takes the place of the connection that has asked for nothing for longest.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import closing
from functools import partial

import trio

from meshfilters.api import Service
from meshfilters.counters import Metrics
from meshfilters.errors import MeshError
from meshfilters.exchange import Connection
from meshfilters.message import Request, Response
from proxy.chain.pipeline import Blame, Pipeline
from proxy.chain.side_tasks import SideTasks
from proxy.config.model import Http as HttpLimits
from proxy.config.model import Http2
from proxy.downstream.listen import Listener
from proxy.downstream.serve import Http
from proxy.downstream.serving import Head
from proxy.transport.deadlines import Deadlines
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream

ADMIN = "admin"
LIMITS = HttpLimits(max_body=1024, head_timeout=5, keep_alive=10, stall_timeout=10)
"""Short: who comes here asks at once, and a scraper connects anew without ado."""
CONNECTIONS = 256
"""At a time, on each of the sockets."""


class Visitors:
    """The connections of one socket, oldest first, and which of them are being answered."""

    def __init__(self, service: Service[Request, Response]) -> None:
        self._service = service
        self._scopes: dict[Connection, trio.CancelScope] = {}
        self._busy: set[Connection] = set()

    async def serve(
        self, http: Http, stream: SocketStream, client: str, server: str
    ) -> None:
        """Serve a connection to its end, or until another one needs its place."""
        connection = Connection(stream, client, ADMIN, "inbound", server)
        with trio.CancelScope() as scope:
            self._scopes[connection] = scope
            try:
                await http(connection)
            finally:
                self._scopes.pop(connection, None)

    async def answer(self, request: Request, /) -> Response:
        """The service; its connection is not idle meanwhile."""
        connection = request.exchange.connection
        self._busy.add(connection)
        try:
            return await self._service(request)
        finally:
            self._busy.discard(connection)

    def shed(self) -> None:
        """Close the oldest idle connection, or the oldest of all if none is idle."""
        idle = (each for each in self._scopes if each not in self._busy)
        oldest = next(idle, None) or next(iter(self._scopes))
        self._scopes.pop(oldest).cancel()


async def serve_admin(
    service: Service[Request, Response], sockets: Sequence[socket.socket]
) -> None:
    """Serve it on the sockets, for ever; cancellation closes them."""
    deadlines = Deadlines(trio.current_time)
    blame = Blame(Metrics())
    with closing(Readiness()) as readiness:
        async with trio.open_nursery() as nursery:
            side_tasks = SideTasks(nursery, blame)
            nursery.start_soon(readiness.run)
            nursery.start_soon(deadlines.run)
            for sock in sockets:
                visitors = Visitors(service)
                http = Http(
                    Pipeline[Request, Response]([], visitors.answer),
                    _route,
                    LIMITS,
                    Http2(),
                    deadlines,
                    side_tasks,
                    blame,
                    _refused,
                )
                serve = partial(visitors.serve, http)
                listener = Listener(
                    ADMIN, sock, readiness, serve, CONNECTIONS, shed=visitors.shed
                )
                nursery.start_soon(listener.run)


def _route(head: Head, connection: Connection) -> str:
    return ADMIN


def _refused(error: MeshError) -> None:
    """Nobody counts what the admin port refused."""
