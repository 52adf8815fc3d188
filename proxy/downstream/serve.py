"""The joint between the levels: one HTTP connection in, many requests out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from meshfilters.errors import MeshError
from meshfilters.exchange import Connection
from meshfilters.message import Request, Response
from proxy.chain.pipeline import Blame, Pipeline
from proxy.chain.side_tasks import SideTasks
from proxy.config.model import Http as HttpLimits
from proxy.config.model import Http2
from proxy.downstream.serving import Head
from proxy.downstream.session import Session
from proxy.transport.deadlines import Deadlines

if TYPE_CHECKING:
    from proxy.downstream.multiplexed import ServerConnection


class Client(Protocol):
    """One connection, as far as its end goes."""

    @property
    def is_busy(self) -> bool: ...

    def drain(self) -> None: ...


class Http:
    """A connection service: serves HTTP on each connection with one pipeline."""

    def __init__(
        self,
        pipeline: Pipeline[Request, Response],
        route: Callable[[Head, Connection], str | None],
        limits: HttpLimits,
        http2: Http2,
        deadlines: Deadlines,
        side_tasks: SideTasks,
        blame: Blame,
        refused: Callable[[MeshError], None],
    ) -> None:
        self.pipeline = pipeline
        """What the next request goes through; replaced as a whole."""
        self.route = route
        """The service a request goes to; None when there is none (``route.py``)."""
        self.limits = limits
        self.http2 = http2
        self.deadlines = deadlines
        self.clock = deadlines.clock
        self.side_tasks = side_tasks
        self.blame = blame
        self.refused = refused
        """Told of each request that was refused before it became an exchange."""
        self.is_draining = False
        self.sessions: set[Client] = set()
        self._connections = 0
        self._is_retired = False

    async def __call__(
        self, connection: Connection, /, early: bytes = b"", *, is_http2: bool = False
    ) -> None:
        """Serve a connection to its end; ``early`` has been received of it already."""
        session = self._session(connection, early, is_http2=is_http2)
        self.sessions.add(session)
        try:
            await session.run()
        finally:
            self.sessions.discard(session)

    def _session(
        self, connection: Connection, early: bytes, *, is_http2: bool
    ) -> Session | ServerConnection:
        if not is_http2:
            return Session(self, connection, early)
        # HTTP/2 costs memory that only a worker which speaks it pays.
        from proxy.downstream.multiplexed import ServerConnection

        return ServerConnection(self, connection, early)

    def drain(self) -> None:
        """Tell clients to close behind their next response; close what stays idle."""
        self.is_draining = True
        for session in self.sessions:
            session.drain()

    def enter(self) -> None:
        """A connection is on its way here."""
        self._connections += 1

    def leave(self) -> None:
        """A connection that entered is over."""
        self._connections -= 1
        if self._is_retired and not self._connections:
            self.pipeline.retire()

    def retire(self) -> None:
        """No connection will enter: drain, and retire the pipeline behind the last."""
        self.drain()
        self._is_retired = True
        if not self._connections:
            self.pipeline.retire()

    def __repr__(self) -> str:
        busy = sum(session.is_busy for session in self.sessions)
        return f"<Http {busy} active {len(self.sessions) - busy} idle>"
