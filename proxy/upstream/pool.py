"""The connections to one endpoint: those in use, and the unused ones worth keeping.

The policy is synchronous; whoever calls does the awaiting. Taken last in, first out,
so that what is not needed grows old and is closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from meshfilters.exchange import Endpoint
from meshfilters.stream import Stream
from proxy.chain.side_tasks import SideTasks
from proxy.transport.deadlines import Deadlines
from proxy.upstream.connection import UpstreamConnection

PENALTY, LONGEST_PENALTY = 0.1, 10.0
"""Seconds an endpoint that refused is passed over; doubled up to the longest."""


class Pool:
    """Connections to one endpoint, and whether it takes any."""

    def __init__(
        self,
        endpoint: Endpoint,
        open_stream: Callable[[Endpoint], Awaitable[Stream]],
        deadlines: Deadlines,
        side_tasks: SideTasks,
        *,
        size: int,
        idle: float,
    ) -> None:
        self.endpoint = endpoint
        self.active = 0
        """Connections in use or being opened: the load the balancer compares."""
        self.opened = 0
        self.reused = 0
        self.failed = 0
        self._dial = open_stream
        self._deadlines = deadlines
        self._side_tasks = side_tasks
        self._size = size
        self._idle_limit = idle
        self._idle: deque[UpstreamConnection] = deque()
        self._timer = deadlines.timer(self._close_old)
        self._is_closed = False
        self._penalty = 0.0
        self._down_until = 0.0

    @property
    def is_down(self) -> bool:
        """Whether it refused a moment ago, and another endpoint had better be tried."""
        return self._penalty > 0 and self._deadlines.clock() < self._down_until

    def take(self) -> UpstreamConnection | None:
        """An unused connection that is still good, now in use; None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                self.active += 1
                self.reused += 1
                return connection
            self.active += 1  # closing it gives it back
            connection.close()
        return None

    async def open(self) -> UpstreamConnection:
        """A new connection, in use. Raises UpstreamError; nothing was sent then."""
        stream = await self.open_stream()
        return UpstreamConnection(
            stream, self._deadlines, self._side_tasks, self._release
        )

    async def open_stream(self) -> Stream:
        """A new stream, in use until ``leave``. Raises UpstreamError."""
        self.active += 1
        try:
            stream = await self._dial(self.endpoint)
        except BaseException as error:
            self.active -= 1
            if isinstance(error, Exception):
                self.punish()
            raise
        self._penalty = 0.0
        self.opened += 1
        return stream

    def leave(self) -> None:
        """A stream of ``open_stream`` is done with."""
        self.active -= 1

    def close(self) -> None:
        """Close what is unused, and the rest when it comes back."""
        self._is_closed = True
        self._timer.close()
        while self._idle:
            self.active += 1
            self._idle.pop().close()

    def _release(self, connection: UpstreamConnection, is_usable: bool) -> None:
        self.active -= 1
        if not is_usable:
            return
        if self._is_closed or len(self._idle) >= self._size:
            self.active += 1
            connection.close()
            return
        connection.idle_since = self._deadlines.clock()
        if not self._idle:
            self._timer.set(connection.idle_since + self._idle_limit)
        self._idle.append(connection)

    def _close_old(self) -> None:
        oldest = self._deadlines.clock() - self._idle_limit
        while self._idle and self._idle[0].idle_since <= oldest:
            self.active += 1
            self._idle.popleft().close()
        if self._idle:
            self._timer.set(self._idle[0].idle_since + self._idle_limit)

    def punish(self) -> None:
        """It took no connection: pass it over for a while, longer each time in a row."""
        self.failed += 1
        if self.is_down:
            return  # one outage, however many connections it refused at once
        self._penalty = min(LONGEST_PENALTY, self._penalty * 2 or PENALTY)
        self._down_until = self._deadlines.clock() + self._penalty

    def statistics(self) -> dict[str, object]:
        """For ``/stats``."""
        return {
            "endpoint": self.endpoint.address,
            "active": self.active,
            "idle": len(self._idle),
            "opened": self.opened,
            "reused": self.reused,
            "failed": self.failed,
            "down": self.is_down,
        }

    def __repr__(self) -> str:
        state = f"{self.active} active {len(self._idle)} idle"
        return f"<Pool {self.endpoint.service} {self.endpoint.address}: {state}>"
