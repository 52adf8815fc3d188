"""The options of a socket on the data path."""

from __future__ import annotations

import socket

KEEP_ALIVE = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 30_000,
}
"""A dead peer is noticed in 40 s (Linkerd: keep-alive 10 s, user timeout 30 s)."""


def tune(sock: socket.socket) -> None:
    """Make a socket ready for the data path: no waiting, no Nagle.

    On Linux, what a listening socket accepts inherits all but being non-blocking; it has
    to be tuned before it listens, for the kernel accepts from then on.
    """
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEP_ALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
