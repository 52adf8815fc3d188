"""TLS on a non-blocking socket itself, waiting with the worker's own readiness.

OpenSSL reads and writes the descriptor; there is no buffer of ours between them. Rules
nobody may break:

1. OpenSSL reads record by record, so a short read says nothing, and WantReadError may
   stand for a record that was TLS's own: only the socket says that it is drained.
2. A write that would have blocked is repeated with the same bytes. One that was
   cancelled midway leaves part of a record behind, so nothing may be sent after it.
3. OpenSSL keeps the descriptor's number, not the socket: once the socket is closed the
   number may be another connection's, and OpenSSL is not called again.

An end without close_notify is a BrokenResourceError: who reads until the end must know
the end from a cut. ``aclose`` says a good end, ``close`` does not.
"""

from __future__ import annotations

import contextlib
import fcntl
import termios
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio
import trio.abc
from OpenSSL import SSL

from meshfilters import openssl
from meshfilters.bio import open_tls as open_tls_inside
from meshfilters.stream import Stream, Tls

if TYPE_CHECKING:
    from proxy.transport.stream import SocketStream

NONE = bytes(4)
"""How FIONREAD says that no bytes are there."""

RECORD = 16 * 1024
"""Bytes of the largest record, so that one read leaves nothing decrypted behind."""

LARGEST_READ = 256 * 1024
"""Bytes gathered from full records before they are handed on."""

_Step = Callable[[bytes | bytearray | memoryview], int]

TURN = 32
"""Calls in a row that may go by without a checkpoint."""


async def open_tls(
    under: SocketStream,
    context: SSL.Context,
    *,
    server_side: bool,
    server_name: str | None,
) -> TlsStream:
    """Do the handshake on ``under``'s socket; see ``Stream.start_tls``."""
    await trio.lowlevel.checkpoint()
    watch = under.watch
    connection = openssl.connection(
        context, under.socket, server_side=server_side, server_name=server_name
    )
    while True:
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            watch.readable = watch.has_hung_up
            await watch.wait_readable()
        except SSL.WantWriteError:
            await watch.wait_writable()
        except (SSL.Error, openssl.NoProtocol) as error:
            raise openssl.broken(connection, error) from error
        else:
            return TlsStream(under, connection)


class TlsStream(trio.abc.HalfCloseableStream):
    """What is inside the TLS on a socket; it owns the socket's stream."""

    def __init__(self, under: SocketStream, connection: SSL.Connection) -> None:
        self.tls: Tls | None = openssl.facts(connection)
        self.watch = under.watch
        self._under = under
        self._connection = connection
        self._recv = connection.recv
        self._write = connection.send
        self._descriptor = under.socket.fileno
        self._turns = TURN
        self._peeked = b""
        self._is_sending = False
        self._is_torn = False
        """Part of a record may be out, and nothing can be sent behind it."""
        self._is_ended = False
        self._failure: SSL.Error | None = None
        """What ended receiving; OpenSSL says it only once."""

    async def receive_soon(self) -> bytes:
        """As ``receive_some``, but a checkpoint only where it has to wait."""
        await self._take_turn()
        if self._peeked:
            data, self._peeked = self._peeked, b""
            return data
        return await self._receive(RECORD)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        size = RECORD if max_bytes is None else max_bytes
        if size < 1:
            raise ValueError(f"max_bytes must be at least 1, not {size}")
        await trio.lowlevel.checkpoint()
        if self._peeked:
            data, self._peeked = self._peeked[:size], self._peeked[size:]
            return data
        return await self._receive(size)

    async def peek(self, count: int, at_least: int = 1) -> bytes:
        await trio.lowlevel.checkpoint()
        while len(self._peeked) < at_least:
            data = await self._receive(RECORD)
            if not data:
                break
            self._peeked += data
        return self._peeked[:count]

    async def _receive(self, size: int) -> bytes:
        watch = self.watch
        if watch.reader is not None:
            raise trio.BusyResourceError("another task is receiving")
        while True:
            if self._descriptor() < 0:
                raise trio.ClosedResourceError("this stream was closed")
            if self._failure is not None:
                raise _broken(self._failure) from self._failure
            try:
                data = self._recv(size)
            except SSL.WantReadError:
                if self._is_drained():
                    watch.readable = False
                    await watch.wait_readable()
                else:
                    await self._take_turn()
            except SSL.WantWriteError:
                # An answer to a KeyUpdate finds no room. Trio's own wait, since the
                # watch has one place for a writer, and that is the sending task's.
                await trio.lowlevel.wait_writable(self._under.socket)
            except SSL.ZeroReturnError:
                return b""
            except SSL.Error as error:
                self._failure = error
            else:
                return self._gather(data) if len(data) == RECORD else data

    async def _take_turn(self) -> None:
        self._turns -= 1
        if not self._turns:
            self._turns = TURN
            await trio.lowlevel.checkpoint()

    def _is_drained(self) -> bool:
        """Whether OpenSSL has taken all that has come, and not only a KeyUpdate.

        The end of it is OpenSSL's to find, and no bytes: behind a hang-up it is asked again.
        """
        if self.watch.has_hung_up:
            return False
        return fcntl.ioctl(self._descriptor(), termios.FIONREAD, NONE) == NONE

    def _gather(self, data: bytes) -> bytes:
        """Add the records behind a full one that have come already."""
        chunks = [data]
        while len(data) == RECORD and len(chunks) < LARGEST_READ // RECORD:
            try:
                data = self._recv(RECORD)
            except (SSL.WantReadError, SSL.ZeroReturnError):
                break
            except SSL.Error as error:
                self._failure = error
                break
            chunks.append(data)
        return b"".join(chunks)

    async def send_soon(self, data: bytes | bytearray | memoryview) -> None:
        """As ``send_all``, but a checkpoint only where it has to wait."""
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending")
        self._is_sending = True
        try:
            await self._send(data)
        finally:
            self._is_sending = False

    # Nothing is held back: a record that is half out must be sent on with the same bytes.
    send_later = send_soon

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Send what the kernel takes without waiting; how many bytes that were.

        A record that is half out is finished by sending the rest, whatever follows it.
        """
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending")
        if self._descriptor() < 0 or self._is_ended:
            raise trio.ClosedResourceError("this stream was closed")
        sent = 0
        while sent < len(data):
            try:
                sent += self._write(memoryview(data)[sent:] if sent else data)
            except (SSL.WantWriteError, SSL.WantReadError):
                break
            except SSL.Error as error:
                raise _broken(error) from error
        return sent

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending")
        self._is_sending = True
        try:
            await trio.lowlevel.checkpoint()
            await self._send(data)
        finally:
            self._is_sending = False

    async def _send(self, data: bytes | bytearray | memoryview) -> None:
        if self._descriptor() < 0 or self._is_ended:
            raise trio.ClosedResourceError("this stream was closed")
        if self._is_torn:
            raise trio.BrokenResourceError("sending was cancelled amid a record")
        # To OpenSSL an empty write is an error.
        if data:
            self._is_torn = True
            await self._drive(self._write, data)
            self._is_torn = False

    async def _drive(self, step: _Step, rest: bytes | bytearray | memoryview) -> None:
        """Repeat ``step`` with the same bytes until they are out."""
        while True:
            if self._descriptor() < 0:
                raise trio.ClosedResourceError("this stream was closed")
            try:
                sent = step(rest)
            except SSL.WantWriteError:
                await self.watch.wait_writable()
            except SSL.WantReadError:
                # Amid a KeyUpdate of the peer's. Trio's own wait, as in _receive.
                await trio.lowlevel.wait_readable(self._under.socket)
            except SSL.Error as error:
                raise _broken(error) from error
            else:
                if sent == len(rest):
                    return
                rest = memoryview(rest)[sent:]

    async def send_eof(self) -> None:
        """Send close_notify. Receiving goes on, and so does the TCP connection."""
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending")
        await trio.lowlevel.checkpoint()
        if self._is_torn:
            raise trio.BrokenResourceError("sending was cancelled amid a record")
        if not self._is_ended:
            self._is_sending = True
            try:
                await self._drive(self._shut_down, b"")
            finally:
                self._is_sending = False

    def _shut_down(self, _: object) -> int:
        self._is_ended = True
        self._connection.shutdown()
        return 0

    async def wait_send_all_might_not_block(self) -> None:
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending")
        if self._descriptor() < 0 or self._is_ended:
            raise trio.ClosedResourceError("this stream was closed")
        self._is_sending = True
        try:
            await trio.lowlevel.wait_writable(self._under.socket)
        finally:
            self._is_sending = False

    async def start_tls(
        self,
        context: SSL.Context,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> Stream:
        return await open_tls_inside(
            self, context, server_side=server_side, server_name=server_name
        )

    @property
    def is_stale(self) -> bool:
        """Whether data or an end has come. Reads, since what came may be neither."""
        if self._peeked or self._descriptor() < 0:
            return True
        if not self.watch.readable:
            return False
        try:
            self._peeked = self._receive_nowait()
        except SSL.WantReadError:
            if self._is_drained():
                self.watch.readable = False
                return False
        except SSL.Error as error:
            self._failure = error
        return True

    def _receive_nowait(self) -> bytes:
        """Read past a few records that are TLS's own, as session tickets are."""
        for _ in range(TURN):
            with contextlib.suppress(SSL.WantReadError):
                return self._recv(RECORD)
            if self._is_drained():
                break
        raise SSL.WantReadError

    def on_hangup(self, callback: Callable[[], None] | None) -> None:
        self.watch.on_hangup = callback

    def close(self) -> None:
        """Close at once and without close_notify: the peer sees that it was cut."""
        self._tell_of_the_end()
        self._under.close()

    def abort(self) -> None:
        """Close so that the peer sees a broken connection: no close_notify, a reset."""
        self._tell_of_the_end()
        self._under.abort()

    def _tell_of_the_end(self) -> None:
        # Who sends may wait with trio, and not with our watch.
        if self._is_sending and self._descriptor() >= 0:
            trio.lowlevel.notify_closing(self._under.socket)

    async def aclose(self) -> None:
        """Close at once, behind a close_notify if the socket takes it without waiting."""
        is_clean = not (self._is_torn or self._is_sending or self._is_ended)
        if is_clean and self._descriptor() >= 0:
            # A peer that has gone does not want to know. The read takes the session
            # tickets that a server has sent: a socket closed with unread bytes in it
            # resets the connection, and the peer loses what we sent last.
            with contextlib.suppress(SSL.Error):
                self._connection.shutdown()
                self._receive_nowait()
        self.close()
        await trio.lowlevel.checkpoint()

    def __repr__(self) -> str:
        version = self.tls.version if self.tls else "TLS"
        return f"<TlsStream {version} on {self._under!r}>"


def _broken(error: SSL.Error) -> trio.BrokenResourceError:
    return trio.BrokenResourceError(openssl.describe(error))
