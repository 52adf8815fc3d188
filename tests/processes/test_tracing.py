"""Spans of real traffic, from a worker through the agent to a collector."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.processes.receivers import (
    Found,
    free_port,
    parse_oteltap,
    read_until,
    running,
    start_oteltap,
)

pytestmark = pytest.mark.slow

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

FILE = """\
version: 1
tracing: {{endpoint: "http://127.0.0.1:{collector}", service: shop-web}}
listeners:
  out: {{address: "127.0.0.1:{port}", to: app}}
services:
  app: {{endpoints: ["127.0.0.1:{origin}"]}}
"""


class FailsOnce(BaseHTTPRequestHandler):
    """Answers the first request with 503, the rest with 200; keeps their contexts."""

    protocol_version = "HTTP/1.1"
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.headers["traceparent"])
        self.send_response(503 if len(self.seen) == 1 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[tuple[int, list[str]]]:
    class Handler(FailsOnce):
        seen: list[str] = []  # noqa: RUF012  # a test's own class

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], Handler.seen
        server.shutdown()
        thread.join()


def ask(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    context = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    connection.request("GET", "/cart", headers=context)
    status = connection.getresponse().status
    connection.close()
    return status


def proxied(tmp_path: Path, collector: int, origin: int) -> tuple[int, list[str]]:
    """The port a proxy is to listen on, and the command that starts it."""
    port = free_port()
    file = tmp_path / "mesh.yaml"
    file.write_text(FILE.format(collector=collector, port=port, origin=origin))
    return port, [sys.executable, "-m", "tulle", "proxy", "-c", str(file)]


def stop(proxy: subprocess.Popen[str]) -> None:
    proxy.terminate()
    proxy.wait(15)


def test_a_retried_exchange_is_one_trace_at_the_collector(
    tmp_path: Path, origin: tuple[int, list[str]]
) -> None:
    collector = free_port()
    port, command = proxied(tmp_path, collector, origin[0])
    with running(*start_oteltap(collector)) as receiver:
        read_until(receiver, "Listening")
        with running(*command) as proxy:
            read_until(proxy, "ready")
            status = ask(port)
            stop(proxy)  # the agent sends what it has before it ends
        found: Found = parse_oteltap(read_until(receiver, "resend_count"))

    assert status == 200
    server, first, second = found
    assert {each["trace"] for each in found} == {TRACE}
    assert server["parent"] == CALLER
    assert first["parent"] == second["parent"] == server["id"]
    # What the origin was told is the span of the attempt that reached it.
    assert origin[1] == [f"00-{TRACE}-{each['id']}-01" for each in (first, second)]
    assert float(server["attributes"]["mesh.filter.retry.seconds"]) > 0


def test_a_dead_collector_costs_a_request_nothing(
    tmp_path: Path, origin: tuple[int, list[str]]
) -> None:
    with socket.socket() as unanswered:
        unanswered.bind(("127.0.0.1", 0))
        collector = unanswered.getsockname()[1]
        port, command = proxied(tmp_path, collector, origin[0])
        with running(*command) as proxy:
            read_until(proxy, "ready")
            statuses = [ask(port) for _ in range(50)]
            stop(proxy)

    assert set(statuses) == {200}
    assert proxy.returncode == 0
