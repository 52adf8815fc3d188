"""One task that serves streams of an HTTP/2 connection, one behind the other.

A connection has as many lanes as it had requests at once. A lane that is done waits for
the next stream: that costs half of what a task and a cancel scope for each stream do.
"""

from __future__ import annotations

import math
import os
from base64 import b64encode
from contextlib import suppress
from typing import Protocol

import trio

from meshfilters.errors import (
    BadRequest,
    ClientGone,
    Draining,
    MeshError,
    UpstreamProtocolError,
)
from meshfilters.exchange import Connection, Exchange, Limits
from meshfilters.grpc import is_grpc
from meshfilters.message import EMPTY, Body, Response
from proxy.chain.pipeline import PROXY
from proxy.codec import h2
from proxy.codec.orig_proto import MESH, VERSIONS
from proxy.downstream.respond import grpc_trailers
from proxy.downstream.serving import Server, Serving
from proxy.downstream.stream_writer import StreamWriter, reset_code
from proxy.transport.http2.channel import Channel
from proxy.transport.http2.connection import Multiplexed
from proxy.transport.http2.tunnel import ChannelStream
from proxy.transport.readiness import WOKEN

LINGER = 2.0
"""Seconds a client gets to take a response before its unread request is reset."""

HANDSHAKE_FIELDS = (b"upgrade", b"connection", b"sec-websocket-accept")
"""Of a 101, what RFC 8441 has no use for."""


class RequestStream(Channel):
    """A client's stream; as a ``Body`` its request's.

    The first ``receive`` asks a client that waits for 100 Continue to go on. Raises
    ClientGone when the stream was reset, BadRequest for a body over the limit.
    """

    __slots__ = ("_expects_continue", "_limit", "_writer", "lane")

    def __init__(self, connection: Multiplexed, stream: int) -> None:
        super().__init__(connection, stream)
        self.lane: Lane | None = None

    def begin(
        self, writer: StreamWriter, head: h2.RequestHead, limit: int | None
    ) -> None:
        """A lane has taken it on."""
        self.length = head.length
        self._writer = writer
        self._limit = limit
        self._expects_continue = head.expects_continue

    async def receive(self) -> bytes:
        if self._expects_continue:
            self._expects_continue = False
            if not self.is_ended:
                self._writer.send_continue()
        data = await super().receive()
        if self.lane is not None:
            self.lane.touch()
        if self._limit is not None and self.received > self._limit:
            raise self._too_long()
        return data

    def gone(self) -> Exception:
        return self.error or ClientGone("the stream is over")

    def check_length(self) -> None:
        """Raise BadRequest if it is known to be over the listener's limit."""
        known = max(self.length or 0, self.received)
        if self._limit is not None and known > self._limit:
            raise self._too_long()

    def _too_long(self) -> BadRequest:
        error = BadRequest(f"body over {self._limit} bytes", status=413)
        error.by = PROXY
        return error


class Lanes(Protocol):
    """What a lane needs of its connection."""

    def rest(self, lane: Lane) -> None:
        """The lane has nothing to serve."""
        ...


class Lane(Serving):
    """One task of an HTTP/2 connection; ``begin`` gives it the next stream."""

    _writer: StreamWriter

    def __init__(self, lanes: Lanes, server: Server, connection: Connection) -> None:
        super().__init__(server, connection, StreamWriter(server.clock))
        self._lanes = lanes
        self._is_mesh = connection.tls is not None and connection.tls.alpn == MESH
        self._channel: RequestStream | None = None
        self._head: h2.RequestHead | None = None
        self._task: trio.lowlevel.Task | None = None
        self._is_closed = False
        self._queued = 0

    def begin(self, channel: RequestStream, head: h2.RequestHead) -> None:
        """Serve a stream; called by the connection when it has come."""
        channel.lane = self
        self._channel, self._head = channel, head
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task, WOKEN)

    def drop(self) -> None:
        """The stream that was begun is over: don't serve it if that has not started.

        Its window, of what has come and nobody reads, is the connection's as well.
        """
        if self.exchange is None:
            self._leave()
        else:
            self.exchange.cancel(ClientGone())

    def close(self) -> None:
        """End the task of a lane that rests."""
        self._is_closed = True
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task, WOKEN)

    @property
    def is_unanswered(self) -> bool:
        """Whether no head of a response has gone out for the stream under way."""
        # What the writer says is of the last exchange while this one has not started.
        return self.exchange is None or self._writer.status is None

    async def run(self) -> None:
        """Serve what ``begin`` gives, until cancelled."""
        try:
            while not self._is_closed:
                self._is_cancelled = False
                with trio.CancelScope() as self._scope:
                    await self._serve()
                if self.exchange is not None:
                    await self._finish(self.exchange.reason)
                    self._leave()
        finally:
            self._timer.close()
            if self.exchange is not None:
                # Cancelled from outside: the client has gone, or the worker's grace is over.
                await self.server.side_tasks.join(self.exchange)
                self._end(self.exchange.reason or Draining())

    async def _serve(self) -> None:
        while not self._is_closed:
            head, channel = self._head, self._channel
            if head is None or channel is None:
                self._lanes.rest(self)
                self._task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)
                continue
            await self._serve_one(head, channel)
            self._leave()
            if self._is_cancelled:
                # Let a cancellation that came too late fire here, not on the next one.
                await trio.lowlevel.checkpoint()

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _leave(self) -> None:
        if self._channel is not None:
            self._channel.lane = None
            self._channel.discard()
        self._channel = self._head = None
        self._timer.deadline = math.inf

    async def _serve_one(self, head: h2.RequestHead, channel: RequestStream) -> None:
        writer = self._writer
        writer.begin(channel, head.method)
        now = writer.touched = self.server.clock()
        exchange = Exchange(self.connection, now, Limits(), self)
        exchange.version = "2"
        exchange.informational = writer.inform
        if self._is_mesh and head.orig_proto is not None:
            # One of HTTP/1 again that a sidecar of ours sent as HTTP/2.
            exchange.version = VERSIONS.get(head.orig_proto, "2")
            if exchange.version == "1.0":
                exchange.informational = None
        channel.begin(writer, head, self.server.limits.max_body)
        body: Body = EMPTY
        if head.length != 0 or not channel.is_ended:
            # Also where no body is expected, and the client may never end its side.
            self._body = channel
        if head.protocol:
            _show_as_upgrade(head)
        elif head.method != b"CONNECT" and head.length != 0:
            body = channel.whole() or channel
        await self._serve_exchange(exchange, head, body)

    # What differs from HTTP/1.1

    async def _respond(self, response: Response) -> None:
        channel, head = self._channel, self._head
        assert channel is not None
        assert head is not None
        if response.upgrade is None:
            if head.protocol and 200 <= response.status < 300:
                # The client would take this for an open tunnel (RFC 8441, 5).
                await response.body.aclose()
                detail = f"{response.status} where a WebSocket was asked for"
                raise UpstreamProtocolError(detail, sent=True)
            await self._writer.respond(response)
            return
        self._body = None  # it is the tunnel's, and may be quiet for long
        status, headers = response.status, response.headers
        if status == 101:
            status = 200
            headers = headers.copy()
            headers.remove(*HANDSHAKE_FIELDS)
        self._writer.switch(status, headers)
        stream = ChannelStream(channel)
        try:
            await self._tunnel(stream, response.upgrade)
        finally:
            await stream.aclose()

    async def _break_off(self, error: MeshError) -> None:
        if self._channel is None:
            return
        if error.reset is None and self._request is not None and is_grpc(self._request):
            # A reset is INTERNAL to gRPC's clients, whatever the reason.
            with suppress(h2.StreamGone, h2.UnwritableHead):
                if self._writer.cut_short(grpc_trailers(error)):
                    return
        self._channel.reset_behind(reset_code(error))

    def _before_answer(self, error: MeshError) -> None:
        """Nothing: the connection goes on behind any answer."""

    def _unanswered(self) -> None:
        if self._channel is not None:
            self._channel.reset(h2.CANCEL)

    async def _settle(self, *, is_owed: bool, has_answer: bool) -> None:
        """Stop what nobody reads, behind a whole response (RFC 9113, 8.1)."""
        channel = self._channel
        if channel is None or channel.is_closed or channel.is_reset:
            return
        code = h2.CANCEL
        with suppress(ClientGone), trio.move_on_after(LINGER):
            await channel.sent()
            code = h2.NO_ERROR
        channel.reset_behind(code)

    def _has_moved(self) -> bool:
        channel = self._channel
        if channel is None or not self._writer.is_sending:
            return False
        before = self._queued
        self._queued = channel.connection.codec.queued(channel.id)
        return self._queued != before

    def __repr__(self) -> str:
        state = "idle" if self.exchange is None else "active"
        return f"<Lane {self.connection.client}: {state}>"


def _show_as_upgrade(head: h2.RequestHead) -> None:
    """Give an extended CONNECT the form it has in HTTP/1.1 (RFC 8441, 5)."""
    headers = head.headers
    headers.add(b"Upgrade", head.protocol)
    if b"sec-websocket-key" not in headers.index:
        headers.add(b"Sec-WebSocket-Key", b64encode(os.urandom(16)))
    head.method = b"GET"
