"""Listening sockets, held by the supervisor for as long as their address is wanted.

A TCP address has one SO_REUSEPORT socket for each slot, so that the kernel spreads the
connections and a worker that takes over a slot finds what was queued for its
predecessor. A second proxy could share such a port silently, which is why an address
is first bound without SO_REUSEPORT. A UNIX address has one socket for all slots.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import attrs

from proxy.config.address import Unix, parse_address
from proxy.transport.tuning import tune


class Place(NamedTuple):
    """Where a socket listens: an address as the file has it, for one slot."""

    address: str
    slot: int
    owner: str = ""
    """The listener, where any port will do: two of them are not the same place."""

    @classmethod
    def of(cls, owner: str, address: str, slot: int) -> Place:
        """The place of a listener's address."""
        return cls(address, slot, owner if address.endswith(":0") else "")


REASONS = {
    errno.EADDRINUSE: "the address is in use",
    errno.EACCES: "permission denied",
    errno.EADDRNOTAVAIL: "this machine does not have the address",
    errno.EAFNOSUPPORT: "this machine does not do IPv6",
}


_SO_ATTACH_FILTER = 26
_DROP_ALL = struct.pack("HBBI", 6, 0, 0, 0)
"""A filter of one instruction (``BPF_RET``, ``BPF_K``): none of the packet's bytes pass."""


class CannotListen(Exception):
    """An address that cannot be listened on; one sentence for people."""


def shown(sock: socket.socket) -> str:
    """The address a socket really has, as it is written in the file."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    host, port = name[:2]
    return f"[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{host}:{port}"


@attrs.define(eq=False)
class Listening:
    """Every listening socket of the proxy, by its place."""

    sockets: dict[Place, socket.socket] = attrs.field(factory=dict)

    def open(self, wanted: Mapping[Place, int]) -> None:
        """Open the places that are missing, each with its backlog.

        All or none: when one cannot be opened, CannotListen is raised and nothing
        has changed.
        """
        before = dict(self.sockets)
        for place, backlog in wanted.items():
            if place in self.sockets:
                continue
            try:
                self.sockets[place] = self._open(place, backlog)
            except OSError as error:
                self._keep(before)
                reason = REASONS.get(error.errno or 0, error.strerror or str(error))
                raise CannotListen(
                    f"cannot listen on {place.address}: {reason}"
                ) from error

    def close_others(self, wanted: Iterable[Place]) -> None:
        """Close what is not wanted; a UNIX socket's file goes with its last place."""
        wanted = set(wanted)
        self._keep(
            {each: held for each, held in self.sockets.items() if each in wanted}
        )

    def release(self) -> None:
        """Close every copy of this process's, and leave files and traffic alone."""
        for each in self.sockets.values():
            each.close()
        self.sockets.clear()

    def _keep(self, kept: dict[Place, socket.socket]) -> None:
        addresses = {each.address for each in kept}
        for place in self.sockets.keys() - kept.keys():
            held = self.sockets.pop(place)
            if held.family == socket.AF_UNIX and place.address not in addresses:
                addresses.add(place.address)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(held.getsockname())
            _take_no_more(held)
            held.close()

    def _open(self, place: Place, backlog: int) -> socket.socket:
        sibling = next(
            (
                held
                for each, held in self.sockets.items()
                if each._replace(slot=place.slot) == place
            ),
            None,
        )
        address = parse_address(place.address)
        if isinstance(address, Unix):
            return sibling.dup() if sibling else _open_unix(address.path, backlog)
        if sibling is not None:
            return _open_tcp(sibling.family, sibling.getsockname(), backlog)
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, _, _, _, name = found[0]
        if address.port:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                _prepare(probe, name)
                probe.bind(name)
        return _open_tcp(family, name, backlog)


def _take_no_more(held: socket.socket) -> None:
    """Let the queue of a socket that closes only get shorter.

    Who is queued between a worker's last accept and its close is reset. With every
    packet dropped, nobody is; a SYN comes again in a second, and finds another slot.
    """
    if held.family == socket.AF_UNIX:
        return  # its file is gone
    program = array("B", _DROP_ALL)
    address, _ = program.buffer_info()
    with contextlib.suppress(OSError):
        held.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, address)
        )


def _prepare(sock: socket.socket, name: tuple[object, ...]) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        only = name[0] != "::"
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)


def _open_tcp(family: int, name: tuple[object, ...], backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _prepare(sock, name)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(name)
        tune(sock)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _open_unix(path: str, backlog: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(path)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket's file that nobody listens behind; never another file."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            # Somebody listens, with a full queue.
            return
