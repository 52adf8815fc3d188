"""The admin port: the agent's request service on its sockets, by the data path's code."""

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
LIMITS = HttpLimits(max_body=1024, keep_alive=120)
"""A scrape a minute keeps its connection (Prometheus: every 15 s to 60 s)."""
CONNECTIONS = 256


async def serve_admin(
    service: Service[Request, Response], sockets: Sequence[socket.socket]
) -> None:
    """Serve it on the sockets, for ever; cancellation closes them."""
    deadlines = Deadlines(trio.current_time)
    blame = Blame(Metrics())
    with closing(Readiness()) as readiness:
        async with trio.open_nursery() as nursery:
            http = Http(
                Pipeline[Request, Response]([], service),
                _route,
                LIMITS,
                Http2(),
                deadlines,
                SideTasks(nursery, blame),
                blame,
                _refused,
            )
            nursery.start_soon(readiness.run)
            nursery.start_soon(deadlines.run)
            for sock in sockets:
                serve = partial(_serve, http)
                listener = Listener(ADMIN, sock, readiness, serve, CONNECTIONS)
                nursery.start_soon(listener.run)


async def _serve(http: Http, stream: SocketStream, client: str, server: str) -> None:
    await http(Connection(stream, client, ADMIN, "inbound", server))


def _route(head: Head, connection: Connection) -> str:
    return ADMIN


def _refused(error: MeshError) -> None:
    """Nobody counts what the admin port refused."""
