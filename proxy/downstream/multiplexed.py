"""One client's HTTP/2 connection: streams become exchanges, each served by a lane.

The connection ends in order: a GOAWAY that still lets in what is on its way, a moment
later one that does not, and the end when the last stream is over (RFC 9113, 6.8). It does
so when the proxy drains, when the connection is old, and when nobody uses it. A client
whose streams end before their answers, one after another, is cut (CVE-2023-44487): the
count is of what the client resets and of what it makes us reset. An answer that waits for
its client when no lane looks after it any more is waited for as long as a lane would.
"""

from __future__ import annotations

import math
from contextlib import suppress
from random import random

import trio

from meshfilters.errors import BadRequest, ClientGone, Draining
from meshfilters.exchange import Connection
from meshfilters.message import Headers
from proxy.codec import h2
from proxy.codec.h2.seen import Requests
from proxy.downstream.lane import Lane, RequestStream
from proxy.downstream.serving import Server
from proxy.transport.http2.connection import Multiplexed

MOMENT = 1.0
"""Seconds between the two GOAWAYs: what is on its way arrives meanwhile."""

JITTER = 0.1
"""Of the greatest age, either way: so that connections opened together part."""

LANES_KEPT = 5.0
"""Seconds without a stream after which lanes are given up."""

WINDOW = 1.0
PREMATURE = 200
"""Streams closed within the window's seconds of which half may end before their answer
(Envoy: 500, and so no more than 250 of the first kind)."""

OVERHANG = 2
"""How many times the granted streams may be under way, those counted in that were reset
and whose work has not ended yet."""


class ServerConnection(Multiplexed):
    """The server's side of one connection, and its lanes."""

    def __init__(
        self, server: Server, connection: Connection, early: bytes = b""
    ) -> None:
        settings = server.http2
        codec = h2.make_codec(
            "server",
            h2.Settings(
                max_streams=settings.max_streams,
                stream_window=settings.stream_window,
                connection_window=settings.connection_window,
                max_frame=settings.max_frame,
                heads=h2.HeadBounds.above(server.limits),
                allows_connect_protocol=True,
            ),
            self,
        )
        super().__init__(connection.stream, codec, server.deadlines, settings)
        self.server = server
        self.connection = connection
        self._early = early
        self._requests = Requests()
        self._idle: list[Lane] = []
        self._lanes = 0
        self._nursery: trio.Nursery | None = None
        self._life = server.deadlines.timer(self._look_at_life)
        self._stalls = server.deadlines.timer(self._look_for_stalls)
        self._untaken: dict[RequestStream, int] = {}
        """What each stream without a lane had queued at the last look."""
        self._full_since: int | None = None
        """How often the socket had had room when it was seen to be full."""
        now = self.clock()
        self._idle_since = now
        age = settings.max_age
        jitter = 1 - JITTER + 2 * JITTER * random()
        self._ends_at = now + age * jitter if age is not None else math.inf
        self._is_announced = False
        self._is_ending = False
        self._window_began = now
        self._closed = 0
        self._premature = 0

    @property
    def is_busy(self) -> bool:
        """Whether any stream is under way."""
        return bool(self.streams)

    async def run(self) -> None:
        """Serve until either side is done; closes the stream."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._plan()
                self._plan_stalls()
                if self.server.is_draining:
                    self.drain()
                await self.communicate(self._early)
                self._nursery.cancel_scope.cancel()
        finally:
            self._life.close()
            self._stalls.close()
            await self.stream.aclose()

    def cancel(self) -> None:
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    # Its end

    def _end_all(self) -> None:
        if trio.current_effective_deadline() == -math.inf:
            # Cut from outside: the worker's grace is over, and no client has gone.
            for channel in self.streams.values():
                assert isinstance(channel, RequestStream)
                if channel.lane is not None and channel.lane.exchange is not None:
                    channel.lane.exchange.cancel(Draining())
        super()._end_all()

    def drain(self) -> None:
        """Take no more streams than those on their way, and end behind the last."""
        if not self._is_announced:
            self._is_announced = True
            self._ends_at = self.clock() + MOMENT
            self.codec.announce_end()
            self.wake()
            self._life.set(self._ends_at)

    def _plan(self) -> None:
        idle = math.inf
        if not self.streams:
            keep_alive = self.server.limits.keep_alive
            patience = LANES_KEPT if len(self._idle) > 1 else keep_alive
            idle = self._idle_since + min(patience, keep_alive)
        self._life.set(min(self._ends_at, idle))

    def _look_at_life(self) -> None:
        now = self.clock()
        if self._is_ending:
            return
        if now >= self._ends_at:
            if self._is_announced:
                self._end()
            else:
                self.drain()
        elif (
            not self.streams and now >= self._idle_since + self.server.limits.keep_alive
        ):
            self._end()
        else:
            if not self.streams and now >= self._idle_since + LANES_KEPT:
                while len(self._idle) > 1:
                    self._idle.pop().close()
                    self._lanes -= 1
            self._plan()

    def _end(self) -> None:
        self._is_ending = True
        self.codec.end()
        self.wake()
        if not self.streams:
            self.finish()

    def _rest_all(self) -> None:
        """The last stream under way is over."""
        self._idle_since = self.clock()
        if self._is_ending:
            self.finish()
        elif self._life.deadline > self._idle_since + LANES_KEPT:
            self._life.set(self._idle_since + LANES_KEPT)

    # What nobody takes

    def _plan_stalls(self) -> None:
        self._stalls.set(self.clock() + self.server.limits.stall_timeout)

    def _look_for_stalls(self) -> None:
        """Give up what has not moved a byte since the last look (CVE-2019-9517)."""
        outbox, queued = self._outbox, self.codec.queued
        full_since = outbox.resumed if outbox.is_full else None
        if full_since is not None and full_since == self._full_since:
            self.give_up()
            return
        self._full_since = full_since
        untaken = {
            channel: queued(channel.id)
            for channel in self.streams.values()
            if isinstance(channel, RequestStream) and channel.lane is None
        }
        for channel, left in untaken.items():
            if self._untaken.get(channel) == left:
                channel.reset()
        self._untaken = untaken
        self._plan_stalls()

    # Lanes

    def rest(self, lane: Lane) -> None:
        self._idle.append(lane)

    def _lane(self) -> Lane:
        assert self._nursery is not None
        lane = Lane(self, self.server, self.connection)
        self._lanes += 1
        self._nursery.start_soon(lane.run)
        return lane

    # What the codec tells

    def on_head(self, stream: int, fields: h2.Fields, is_end: bool) -> None:
        try:
            head = self._requests.read(fields, is_end, self.server.limits)
            if head.protocol and head.protocol != b"websocket":
                raise h2.HeadError("only WebSockets are tunnelled", status=501)
        except h2.HeadError as error:
            weight = 1 + len(fields) // self.server.limits.max_headers
            self._refuse(stream, error, weight, is_end=is_end)
            return
        idle = self._idle
        if not idle and self._lanes >= OVERHANG * self._settings.max_streams:
            self.codec.reset(stream, h2.REFUSED_STREAM)
            self._count(is_premature=True)
            return
        channel = RequestStream(self, stream)
        self.streams[stream] = channel
        channel.is_ended = is_end
        (idle.pop() if idle else self._lane()).begin(channel, head)

    def _refuse(
        self, stream: int, error: h2.HeadError, weight: int, *, is_end: bool
    ) -> None:
        self.server.refused(BadRequest(str(error), status=error.status or 400))
        # What has to be read of it before it is refused is the client's choice.
        self._count(is_premature=True, weight=weight)
        if error.status is None:
            self.codec.reset(stream, error.code)
            return
        told = f"{BadRequest.reason}; by=proxy".encode()
        fields = h2.write_response(
            error.status, Headers([(b"tulle-error", told)]), 0, is_bodiless=False
        )
        with suppress(h2.StreamGone):
            self.codec.respond(stream, fields, is_end=True)
        if not is_end:
            self.reset_behind(stream, h2.NO_ERROR)

    def on_closed(self, stream: int, code: int, is_ours: bool) -> None:
        channel = self.streams.pop(stream, None)
        if not self.streams:
            self._rest_all()
        if channel is None:
            return
        assert isinstance(channel, RequestStream)
        lane = channel.lane
        error: Exception | None = None
        if lane is not None and (code or not channel.is_ended):
            whose = "a mistake of the client's" if is_ours else "reset by the client"
            error = ClientGone(f"{whose}, code {code}")
            self._count(is_premature=lane.is_unanswered)
        else:
            self._count(is_premature=False)
        channel.close(code, error)
        if error is not None and lane is not None:
            lane.drop()
            self.woken()

    def _count(self, *, is_premature: bool, weight: int = 1) -> None:
        self._closed += weight
        self._premature += weight * is_premature
        if self._closed < PREMATURE:
            return
        now = self.clock()
        if 2 * self._premature >= self._closed and now < self._window_began + WINDOW:
            self.codec.fail(h2.ENHANCE_YOUR_CALM, "streams reset before their answers")
        self._window_began = now
        self._closed = self._premature = 0

    def __repr__(self) -> str:
        state = f"{len(self.streams)} streams {len(self._idle)} lanes idle"
        return f"<ServerConnection {self.connection.client}: {state}>"
