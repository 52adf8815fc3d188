"""Sockets are set up for the data path once, those that listen before they do."""

from __future__ import annotations

import socket

from proxy.transport.tuning import tune


def is_tuned(sock: socket.socket) -> bool:
    option = sock.getsockopt
    return (
        bool(option(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        and bool(option(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        and option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
        and option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    )


def test_a_connection_is_tuned() -> None:
    with socket.socket() as sock:
        assert not is_tuned(sock)
        tune(sock)

        assert is_tuned(sock)
        assert not sock.getblocking()


def test_what_is_accepted_inherits_it() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        tune(listening)
        listening.listen()
        listening.settimeout(5)
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()

    with accepted:
        assert is_tuned(accepted)


def test_a_unix_socket_only_does_not_wait() -> None:
    near, far = socket.socketpair()
    with near, far:
        tune(near)

        assert not near.getblocking()
