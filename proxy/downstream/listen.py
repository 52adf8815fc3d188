"""Accepting connections: a nursery a listener, one task a connection.

The loop outlives what the kernel can throw at it. Out of descriptors, it has unused
connections to endpoints closed; where there are none, it gives up a descriptor it keeps
in reserve to accept and drop a client, then pauses. At its cap of connections it stops
accepting, and the kernel's queue is the back-pressure, unless it was given a way to shed
a connection for who comes.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import socket
from collections.abc import Awaitable, Callable

import trio

from proxy.transport.descriptors import OUT, Relieve, nothing_unused
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream

log = logging.getLogger("tulle.listen")

OVERLOADED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""What accept says when there is too much of everything (trio's list)."""

GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
    }
)
"""What accept says when one client left before it was accepted (accept(2))."""

PAUSE = 0.1
"""Seconds to wait when overloaded; trio's choice."""

QUIET = 10.0
"""Seconds between two warnings that the cap is reached."""

TURN = 64
"""Connections accepted in a row before others get their turn."""

Serve = Callable[[SocketStream, str, str], Awaitable[None]]
"""Serves one connection: its stream, the client's address, the address it came to."""


class Listener:
    """One listening socket in one worker; what it accepts is tuned as it is."""

    def __init__(
        self,
        name: str,
        sock: socket.socket,
        readiness: Readiness,
        serve: Serve,
        max_connections: int,
        relieve: Relieve = nothing_unused,
        *,
        shed: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.serve = serve
        """Who serves what is accepted from now on."""
        self.accepted = 0
        self.active = 0
        """Connections under way. Accepting takes a slot, too, so those are no count."""
        self.overloads = 0
        self.closed = trio.Event()
        """Set behind its last connection."""
        self._socket = sock
        self._readiness = readiness
        self._relieve = relieve
        self._shed_one = shed
        self._cap = max_connections
        self._taken = 0
        self._has_room = trio.Event()
        self._warns_at = -math.inf
        self._address = _fixed_address(sock)
        self._scope = trio.CancelScope()
        self._connections = trio.CancelScope()
        self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    async def run(self) -> None:
        """Accept until ``stop``, then return behind the last connection."""
        self._socket.setblocking(False)
        try:
            with self._connections:
                async with trio.open_nursery() as nursery:
                    with self._scope:
                        await self._accept(nursery)
                    self._accept_queued(nursery)
                    self._socket.close()
        finally:
            self.closed.set()
            self._socket.close()
            if self._reserve >= 0:
                os.close(self._reserve)

    def resize(self, max_connections: int) -> None:
        """Change the cap; connections over a lower one stay."""
        self._cap = max_connections
        self._has_room.set()

    def stop(self) -> None:
        """Accept no more; what is under way goes on."""
        self._scope.cancel()

    def cut(self) -> None:
        """End every connection now."""
        self._scope.cancel()
        self._connections.cancel()

    async def _accept(self, nursery: trio.Nursery) -> None:
        turns = TURN
        while True:
            if self._taken >= self._cap:
                await self._wait_for_room()
            # Counted before it is there, for a change of the cap may come meanwhile.
            self._taken += 1
            accepted = None
            try:
                accepted = await self._accept_one()
            finally:
                if accepted is None:
                    self._release()
            if accepted is not None:
                self._start(nursery, *accepted)
            turns -= 1
            if not turns:
                turns = TURN
                await trio.lowlevel.checkpoint()

    def _accept_queued(self, nursery: trio.Nursery) -> None:
        """Take what the kernel has queued: closing the socket would reset it."""
        while self._taken < self._cap:
            try:
                sock, name = self._socket.accept()
            except OSError:
                return
            self._taken += 1
            self._start(nursery, sock, _shown(name))

    def _start(self, nursery: trio.Nursery, sock: socket.socket, client: str) -> None:
        self.accepted += 1
        self.active += 1
        nursery.start_soon(self._run_one, sock, client)

    async def _wait_for_room(self) -> None:
        now = trio.current_time()
        if now >= self._warns_at:
            self._warns_at = now + QUIET
            log.warning(
                "listener at its cap listener=%s max_connections=%d; %s",
                self.name,
                self._cap,
                "clients wait" if self._shed_one is None else "the oldest are closed",
            )
        while self._taken >= self._cap:
            self._has_room = trio.Event()
            if self._shed_one is not None:
                # Not before somebody is there who needs the place.
                await trio.lowlevel.wait_readable(self._socket)
                if self._taken < self._cap:
                    return
                self._shed_one()
            await self._has_room.wait()

    def _release(self) -> None:
        self._taken -= 1
        self._has_room.set()

    async def _accept_one(self) -> tuple[socket.socket, str] | None:
        while True:
            try:
                sock, name = self._socket.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
            except OSError as error:
                if error.errno in OUT and self._relieve():
                    continue
                if error.errno in OVERLOADED:
                    await self._shed(error)
                elif error.errno not in GONE:
                    log.error(
                        "cannot accept listener=%s error=%s", self.name, error.strerror
                    )
                    await trio.sleep(PAUSE)
                return None
            else:
                return sock, _shown(name)

    async def _shed(self, error: OSError) -> None:
        """Let one client know at once by dropping it, and let the rest wait."""
        self.overloads += 1
        log.error("cannot accept listener=%s error=%s", self.name, error.strerror)
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1
        with contextlib.suppress(OSError):
            self._socket.accept()[0].close()
        await trio.sleep(PAUSE)
        with contextlib.suppress(OSError):  # none to spare yet: the next overload tries
            self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    async def _run_one(self, sock: socket.socket, client: str) -> None:
        try:
            opened = self._open(sock)
            if opened is not None:
                stream, server = opened
                try:
                    await self.serve(stream, client, server)
                finally:
                    stream.close()
        finally:
            self.active -= 1
            self._release()

    def _open(self, sock: socket.socket) -> tuple[SocketStream, str] | None:
        try:
            sock.setblocking(False)
            server = self._address or _shown(sock.getsockname())
            return SocketStream(sock, self._readiness), server
        except OSError:
            sock.close()  # it left before we could look at it
            return None

    def statistics(self) -> dict[str, object]:
        """For ``/stats``."""
        return {
            "accepted": self.accepted,
            "active": self.active,
            "cap": self._cap,
            "overloads": self.overloads,
        }

    def __repr__(self) -> str:
        return f"<Listener {self.name}: {self.active} active>"


def _fixed_address(sock: socket.socket) -> str:
    """The address of all that is accepted; empty where each has to be asked."""
    name = sock.getsockname()
    is_any = isinstance(name, tuple) and name[0] in ("0.0.0.0", "::")
    return "" if is_any else _shown(name)


def _shown(name: object) -> str:
    if not isinstance(name, tuple):
        return "unix"
    host, port = name[0], name[1]
    host = host.removeprefix("::ffff:") if "." in host else host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
