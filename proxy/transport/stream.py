"""A plain socket as a ``meshfilters.stream.Stream``.

``receive_some`` and ``send_all`` keep trio's rule that an async call is a checkpoint.
``receive_soon`` and ``send_soon`` are the data path's: the same, but without a
checkpoint when the kernel needs no waiting, save every ``TURN`` calls so that a
connection that is always ready leaves the others their turn.

What ``send_later`` is given waits for the end of the loop's turn if many sockets had
something to say in it. Small messages then leave one right behind the other, and a peer
that is still awake from the last one need not be woken: waking is the dearest part of
sending (20 % of a request's CPU). With few sockets it is sent at once.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
import trio.abc

from meshfilters.stream import Stream, Tls
from proxy.transport.readiness import Readiness, Watch

if TYPE_CHECKING:
    from OpenSSL import SSL

TURN = 32
"""Calls in a row that may go by without a checkpoint."""

SMALLEST_READ, LARGEST_READ = 16 * 1024, 256 * 1024
"""Bytes asked of the kernel: grows while reads come back full."""

MOST_HELD = 16 * 1024
"""Bytes held back until the end of the turn; more are sent at once."""

FAREWELL = 2.0
"""Seconds that closing waits for a peer to take what it was sent."""

RESET = struct.pack("ii", 1, 0)
"""Linger for no time: closing sends a reset."""


class SocketStream(trio.abc.HalfCloseableStream):
    """A connected, non-blocking stream socket, watched by the worker's epoll."""

    tls: Tls | None = None

    def __init__(self, sock: socket.socket, readiness: Readiness) -> None:
        self.socket = sock
        self.readiness = readiness
        self.watch: Watch = readiness.watch(sock.fileno())
        self._recv = sock.recv
        self._send = sock.send
        self._size = SMALLEST_READ
        self._turns = TURN
        self.moved = 0
        """Bytes sent in pieces: whether a slow receiver takes any at all."""
        self._held = b""
        self._is_stuck = False
        """Whether held bytes have to wait until the peer makes room."""
        self._has_failed = False
        """Whether held bytes could not be sent: the peer had gone."""
        self._is_closed = False
        self._is_sending = False
        self._has_ended = False

    async def receive_soon(self) -> bytes:
        """As ``receive_some``, but a checkpoint only where it has to wait."""
        watch = self.watch
        size = self._size
        self._turns -= 1
        if not self._turns:
            self._turns = TURN
            await trio.lowlevel.checkpoint()
        if not watch.readable:
            await watch.wait_readable()
        while True:
            try:
                data = self._recv(size)
            except BlockingIOError:
                watch.readable = False
                await watch.wait_readable()
            except OSError as error:
                raise self._broken(error) from error
            else:
                if len(data) < size:
                    watch.readable = watch.has_hung_up
                elif size < LARGEST_READ:
                    self._size = size * 4
                return data

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        watch = self.watch
        if watch.reader is not None:
            raise trio.BusyResourceError("another task is receiving")
        size = self._size if max_bytes is None else max_bytes
        if size < 1:
            raise ValueError(f"max_bytes must be at least 1, not {size}")
        while True:
            try:
                data = self._recv(size)
            except BlockingIOError:
                watch.readable = False
                await watch.wait_readable()
            except OSError as error:
                raise self._broken(error) from error
            else:
                return data

    async def peek(self, count: int, at_least: int = 1) -> bytes:
        await trio.lowlevel.checkpoint()
        watch = self.watch
        while True:
            try:
                data = self._recv(count, socket.MSG_PEEK)
            except BlockingIOError:
                watch.readable = False
            except OSError as error:
                raise self._broken(error) from error
            else:
                if len(data) >= at_least or not data or watch.has_hung_up:
                    return data
            await watch.wait_readable()

    async def send_soon(self, data: bytes) -> None:
        """As ``send_all``, but a checkpoint only where it has to wait."""
        if self._held:
            await self._send_rest(self._take_held(data))
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._broken(error) from error
        if sent != len(data):
            await self._send_rest(memoryview(data)[sent:])

    async def send_later(self, data: bytes) -> None:
        """As ``send_soon``, but what is small may leave when this turn of the loop ends.

        It waits only while earlier bytes have to. That it could not be sent shows when
        something is received, or sent again.
        """
        if self._has_failed or self._is_closed:
            raise self._broken(OSError(errno.EPIPE, "the peer has gone"))
        held = len(self._held)
        if held + len(data) > MOST_HELD or self._is_stuck:
            await self._send_rest(self._take_held(data))
        elif held:
            self._held += data
        else:
            self._held = data
            if self.readiness.is_crowded:
                self.readiness.soon(self._send_held)
            else:
                self._send_held()

    def _send_held(self) -> None:
        """Send what is held, as far as there is room."""
        data, self._held = self._held, b""
        if not data or self._is_closed:
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._has_failed = True  # who receives learns why
            return
        self._is_stuck = sent != len(data)
        if self._is_stuck:
            self._held = data[sent:]
            self.watch.on_writable = self._send_held

    def _take_held(self, data: bytes | bytearray | memoryview) -> memoryview:
        """What is held and ``data`` behind it; nothing is held any more."""
        if self._held:
            data, self._held = self._held + data, b""
            if self._is_stuck:
                self._is_stuck = False
                self.watch.on_writable = None
        return memoryview(data)

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Send what the kernel takes without waiting; how many bytes that were.

        What is left must be what is sent next. Raises as ``send_all`` does.
        """
        if self._held:
            self._send_held()
            if self._held:
                return 0
        try:
            return self._send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._broken(error) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending")
        self._is_sending = True
        try:
            await trio.lowlevel.checkpoint()
            if self._is_closed or self._has_ended:
                raise trio.ClosedResourceError("this side was closed")
            await self._send_rest(self._take_held(data))
        finally:
            self._is_sending = False

    async def _send_rest(self, rest: memoryview) -> None:
        while rest:
            try:
                sent = self._send(rest)
                self.moved += sent
                rest = rest[sent:]
            except BlockingIOError:
                await self.watch.wait_writable()
            except OSError as error:
                raise self._broken(error) from error

    async def wait_send_all_might_not_block(self) -> None:
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending")
        self._is_sending = True
        try:
            if self._is_closed or self._has_ended:
                raise trio.ClosedResourceError("this side was closed")
            await trio.lowlevel.wait_writable(self.socket)
        finally:
            self._is_sending = False

    async def send_eof(self) -> None:
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending")
        await trio.lowlevel.checkpoint()
        await self._send_rest(self._take_held(b""))
        self._has_ended = True
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._broken(error) from error

    async def start_tls(
        self,
        context: SSL.Context,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> Stream:
        # OpenSSL costs 20 MB: only a worker that speaks TLS pays for it.
        from proxy.transport.tls_stream import open_tls

        return await open_tls(
            self, context, server_side=server_side, server_name=server_name
        )

    @property
    def is_unsent(self) -> bool:
        """Whether what ``send_later`` was last given has not left, nor will if closed."""
        return self._has_failed or (bool(self._held) and not self._is_stuck)

    @property
    def is_stale(self) -> bool:
        """Whether something came, or the peer hung up, since the last read."""
        watch = self.watch
        if not watch.readable or self._is_closed:
            return self._is_closed
        # A last read that came back full left the question open.
        try:
            self._recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            watch.readable = watch.has_hung_up
        except OSError:
            return True
        return watch.readable

    @property
    def has_hung_up(self) -> bool:
        """Whether the peer has been seen to have gone."""
        return self.watch.has_hung_up

    def on_hangup(self, callback: Callable[[], None] | None) -> None:
        """Have ``callback`` called once when the peer is seen to have gone."""
        self.watch.on_hangup = callback

    def close(self) -> None:
        """Close at once; a waiting task gets ClosedResourceError.

        What ``send_later`` still holds is not sent; ``aclose`` sends it.
        """
        if not self._is_closed:
            self._is_closed = True
            self.watch.close()
            if self._is_sending:  # it may wait with trio and not with our watch
                trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    def abort(self) -> None:
        """Close so that the peer sees a broken connection, not the end of a body."""
        if not self._is_closed:
            self._send_held()
            with suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.close()

    async def aclose(self) -> None:
        try:
            await self.aclose_soon()
        finally:
            await trio.lowlevel.checkpoint()

    async def aclose_soon(self) -> None:
        """As ``aclose``, but a checkpoint only where it has to wait."""
        self._send_held()
        try:
            if self._held and not self._is_closed:
                with suppress(trio.BrokenResourceError), trio.move_on_after(FAREWELL):
                    await self._send_rest(self._take_held(b""))
        finally:
            self.close()

    def _broken(self, error: OSError) -> Exception:
        if self._is_closed:
            return trio.ClosedResourceError("this stream was closed")
        return trio.BrokenResourceError(str(error))

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"fd {self.socket.fileno()}"
        return f"<SocketStream {state}>"
