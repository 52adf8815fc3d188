"""The kinds of traffic of a soak: each does one thing, whole, and raises if it fails."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import ssl
from collections.abc import Callable
from contextlib import closing

import attrs
from websockets.sync.client import connect as open_websocket

from tests.processes.origin import BLOCK, digest, pattern
from tests.processes.talk import TIMEOUT, answered, chunked_request, connect

MIB = 1024 * 1024


@attrs.define
class Traffic:
    """One client of the proxy's, of any kind."""

    ports: dict[str, int]
    """By listener: web, echo, tcp, tls, lost."""
    tls: ssl.SSLContext
    random: random.Random

    def kinds(self) -> dict[str, Callable[[], None]]:
        names = (
            *("small", "nginx", "big_down", "big_up", "chunked_down", "chunked_up"),
            *("pipelined", "failing", "lost", "malformed", "aborted_response"),
            *("aborted_request", "upgrade", "aborted_upgrade", "tcp", "mutual_tls"),
        )
        return {name: getattr(self, name) for name in names}

    def small(self) -> None:
        client = http.client.HTTPConnection(
            "127.0.0.1", self.ports["web"], timeout=TIMEOUT
        )
        with closing(client):
            for _ in range(50):
                client.request("GET", "/status/200")
                response = client.getresponse()
                assert (response.status, response.read()) == (200, b"as asked\n")

    def nginx(self) -> None:
        client = http.client.HTTPConnection(
            "127.0.0.1", self.ports["nginx"], timeout=TIMEOUT
        )
        with closing(client):
            for _ in range(200):
                client.request("GET", "/small")
                response = client.getresponse()
                assert (response.status, response.read()) == (200, b"small\n")

    def big_down(self) -> None:
        self._download("web", "pattern")

    def tcp(self) -> None:
        self._download("tcp", "pattern")
        self._upload("tcp")

    def chunked_down(self) -> None:
        self._download("web", "chunked")

    def _download(self, listener: str, word: str) -> None:
        size = self.random.randrange(MIB, 16 * MIB)
        with connect(self.ports[listener]) as sock:
            sock.sendall(f"GET /{word}/{size} HTTP/1.1\r\nHost: app\r\n\r\n".encode())
            status, body = answered(sock)
            assert status == 200, status
            assert hashlib.sha256(body).hexdigest() == digest(pattern(size))

    def big_up(self) -> None:
        self._upload("web")

    def _upload(self, listener: str) -> None:
        size = self.random.randrange(MIB, 16 * MIB)
        with connect(self.ports[listener]) as sock:
            head = f"PUT /seen HTTP/1.1\r\nHost: app\r\nContent-Length: {size}\r\n\r\n"
            sock.sendall(head.encode())
            for block in pattern(size):
                sock.sendall(block)
            status, body = answered(sock)
            assert status == 200, status
            assert json.loads(body)["digest"] == digest(pattern(size))

    def chunked_up(self) -> None:
        size = self.random.randrange(BLOCK, 4 * MIB)
        blocks = list(pattern(size))
        with connect(self.ports["web"]) as sock:
            sock.sendall(chunked_request("/seen", blocks, {"x-sum": "1"}))
            status, body = answered(sock)
            assert status == 200, status
            seen = json.loads(body)
            assert seen["digest"] == digest(iter(blocks))
            assert seen["trailers"] == {"x-sum": "1"}

    def pipelined(self) -> None:
        with connect(self.ports["web"]) as sock:
            sock.sendall(b"GET /status/200 HTTP/1.1\r\nHost: app\r\n\r\n" * 20)
            read = b""
            while read.count(b"as asked\n") < 20:
                data = sock.recv(BLOCK)
                # A worker that drains answers one more, and says so.
                assert data or b"Connection: close" in read, read
                if not data:
                    return
                read += data

    def failing(self) -> None:
        client = http.client.HTTPConnection(
            "127.0.0.1", self.ports["web"], timeout=TIMEOUT
        )
        with closing(client):
            for status in (500, 503, 404, 204, 304):
                client.request("GET", f"/status/{status}")
                response = client.getresponse()
                response.read()
                assert response.status == status

    def lost(self) -> None:
        with connect(self.ports["lost"]) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert answered(sock)[0] in (502, 504)

    def malformed(self) -> None:
        with connect(self.ports["web"]) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n")
            assert answered(sock)[0] == 400

    def aborted_response(self) -> None:
        with connect(self.ports["web"]) as sock:
            sock.sendall(b"GET /forever HTTP/1.1\r\nHost: a\r\n\r\n")
            left = self.random.randrange(4 * MIB)
            while left > 0:
                data = sock.recv(BLOCK)
                assert data
                left -= len(data)

    def aborted_request(self) -> None:
        whole = b"PUT /seen HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
        whole += bytes(999_999)
        with connect(self.ports["web"]) as sock:
            sock.sendall(whole[: self.random.randrange(len(whole))])

    def upgrade(self) -> None:
        with open_websocket(
            f"ws://127.0.0.1:{self.ports['echo']}", compression=None, max_size=None
        ) as websocket:
            for _ in range(20):
                message = self.random.randbytes(self.random.randrange(200_000))
                websocket.send(message)
                assert websocket.recv(TIMEOUT) == message

    def aborted_upgrade(self) -> None:
        with connect(self.ports["echo"]) as sock:
            sock.sendall(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
            )
            assert sock.recv(12) == b"HTTP/1.1 101"

    def mutual_tls(self) -> None:
        size = self.random.randrange(4 * MIB)
        with (
            connect(self.ports["tls"]) as plain,
            self.tls.wrap_socket(plain, server_hostname="api.test") as sock,
        ):
            sock.sendall(f"GET /pattern/{size} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            status, body = answered(sock)
            assert status == 200, status
            assert hashlib.sha256(body).hexdigest() == digest(pattern(size))
