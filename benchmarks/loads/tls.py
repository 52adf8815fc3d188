"""TLS with a client's certificate: handshakes, or requests on connections that stay."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable

import attrs

from benchmarks.loads.load import Done, Failed, Target

CLOSING = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
KEEPING = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
TIMEOUT = 10.0


@attrs.frozen
class Tls:
    """One client a thread, each waiting for its answer."""

    clients: int = 16
    is_new_each: bool = False
    """Whether each request has a full handshake: no session is ever resumed."""

    def __call__(self, target: Target, seconds: int) -> Done:
        run = _Run(target, time.monotonic() + seconds)
        work = run.new_each if self.is_new_each else run.keep
        start = time.monotonic()
        threads = [
            threading.Thread(target=run.guarded, args=(work,))
            for _ in range(self.clients)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        if run.failures:
            raise Failed(f"{run.failures[0]!r}")
        return Done(sum(run.answers), time.monotonic() - start)


def context(target: Target) -> ssl.SSLContext:
    """What a client in the mesh would bring."""
    made = ssl.create_default_context(cafile=str(target.folder / "roots.pem"))
    certificate, key = (target.folder / f"client.{end}" for end in ("pem", "key"))
    made.load_cert_chain(certificate, key)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


class _Run:
    """What the threads share: each appends its own count when it is through."""

    def __init__(self, target: Target, end: float) -> None:
        self._context = context(target)
        self._port = target.port
        self._end = end
        self.answers: list[int] = []
        self.failures: list[Exception] = []

    def guarded(self, work: Callable[[], int]) -> None:
        try:
            self.answers.append(work())
        except (OSError, Failed) as error:
            self.failures.append(error)

    def _connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self._port), TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(plain, server_hostname="server.example.org")

    def new_each(self) -> int:
        count = 0
        while time.monotonic() < self._end:
            with self._connect() as stream:
                _ask(stream, CLOSING)
            count += 1
        return count

    def keep(self) -> int:
        count = 0
        with self._connect() as stream:
            while time.monotonic() < self._end:
                _ask(stream, KEEPING)
                count += 1
        return count


def _ask(stream: ssl.SSLSocket, request: bytes) -> None:
    stream.sendall(request)
    answer = stream.recv(4096)
    while answer and not answer.endswith(b"hello\n"):
        more = stream.recv(4096)
        if not more:
            break
        answer += more
    if not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"hello\n")):
        raise Failed(f"answered {answer[:40]!r}")
