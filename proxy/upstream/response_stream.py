"""The stream of one attempt: its response's head is waited for, then its body read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from meshfilters.errors import (
    AttemptTimeout,
    DeadlineExceeded,
    MeshError,
    UpstreamProtocolError,
)
from meshfilters.exchange import Attempt
from meshfilters.message import Headers, Request
from proxy.chain.side_tasks import SideTask
from proxy.codec import h2
from proxy.transport.deadlines import Timer
from proxy.transport.http2.channel import Channel
from proxy.transport.readiness import WOKEN
from proxy.upstream.connection import EARLY

if TYPE_CHECKING:
    from proxy.upstream.multiplexed import ClientConnection


class ResponseStream(Channel):
    """The stream of one attempt; as a ``Body`` its response's."""

    __slots__ = (
        "_timer",
        "_waiter",
        "attempt",
        "head",
        "informational",
        "is_sent",
        "is_websocket",
        "pump",
        "request",
        "sent_at",
    )

    connection: ClientConnection

    def __init__(
        self,
        connection: ClientConnection,
        stream: int,
        request: Request,
        attempt: Attempt,
    ) -> None:
        super().__init__(connection, stream)
        self.request = request
        self.attempt = attempt
        self.head: h2.ResponseHead | None = None
        self.informational: list[tuple[int, Headers]] = []
        self.pump: SideTask | None = None
        self.is_websocket = False
        """Whether it becomes one when the endpoint agrees."""
        self.is_sent = False
        """Whether the request has been queued to its end."""
        self.sent_at = math.inf
        self._waiter: trio.lowlevel.Task | None = None
        self._timer: Timer | None = None

    # Waiting for the head

    async def wait_head(self) -> h2.ResponseHead:
        """The response's head; 1xx are passed on meanwhile. Raises UpstreamError."""
        told = 0
        while True:
            if self.informational:
                told += 1
                if told > EARLY:
                    raise UpstreamProtocolError("too many 1xx responses", sent=True)
                status, headers = self.informational.pop(0)
                tell = self.request.exchange.informational
                if status != 100 and tell is not None:
                    await tell(status, headers)
            elif self.head is not None:
                return self.head
            elif self.error is not None:
                raise self.error
            else:
                self._waiter = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort_wait)

    def _abort_wait(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        """The head is there, or never will be."""
        task = self._waiter
        if task is not None:
            self._waiter = None
            trio.lowlevel.reschedule(task, WOKEN)
            self.connection.woken()

    def fail(self, error: MeshError) -> None:
        """The exchange can't go on: whoever waits for its response gets ``error``."""
        if self.head is None:
            self.error = error
            self.wake()
            self.reset()
        else:
            self.request.exchange.cancel(error)

    # The response's body

    async def receive(self) -> bytes:
        data = await super().receive()
        if not data:
            await self.finish()
        return data

    async def aclose(self) -> None:
        if not self.discard():
            self.reset()
        await self.finish()

    async def finish(self) -> None:
        """The response is read, or nobody wants it: nobody wants the request, either."""
        self.note_end()
        if self.pump is not None:
            pump, self.pump = self.pump, None
            await pump.stop()
        if not self.is_sent:
            self.reset(h2.NO_ERROR if self.is_ended else h2.CANCEL)

    def over(self) -> None:
        """Called by the connection: the stream is closed."""
        if self._timer is not None:
            self._timer.close()
        self.note_end()

    def note_end(self) -> None:
        """Note when the attempt has ended."""
        if self.attempt.ended is None:
            self.attempt.ended = self.connection.clock()

    def give_up(self) -> bool:
        """Reset a stream whose response nobody has closed; True if that was so."""
        is_left = not self.is_closed
        self.reset()
        self.note_end()
        return is_left

    # Time

    def watch_time(self) -> None:
        """Have a timer look at the limits of the attempt, if there are any."""
        limits = self.request.exchange.limits
        if limits.attempt == math.inf == limits.head:
            return
        deadline = min(
            self.attempt.started + limits.attempt, self.sent_at + limits.head
        )
        if deadline != math.inf:
            if self._timer is None:
                self._timer = self.connection.deadlines.timer(self._expire)
            self._timer.set(deadline)

    def _expire(self) -> None:
        if self.head is not None or self.is_closed:
            return
        now, limits = self.connection.clock(), self.request.exchange.limits
        if now >= self.attempt.started + limits.attempt:
            self.fail(AttemptTimeout(f"over {limits.attempt:g} s", sent=True))
        elif now >= self.sent_at + limits.head:
            late = DeadlineExceeded(f"no response head in {limits.head:g} s")
            self.request.exchange.cancel(late)
        else:
            self.watch_time()
