"""Protocols that are not HTTP, through a listener that was not told of them."""

from __future__ import annotations

import smtplib
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import httpx
import pytest

from tests.processes.programs import needed
from tests.processes.waiting import eventually
from tests.wire.running import free_ports, running

pytestmark = pytest.mark.slow

LIMIT = 0.5
"""Seconds; a client that speaks first must not notice it."""
MESH = """\
version: 1
admin: 127.0.0.1:{admin}
listeners:
  redis: {{address: "127.0.0.1:{redis}", to: redis, detect_timeout: 30}}
  mail: {{address: "127.0.0.1:{mail}", to: mail, detect_timeout: {limit}}}
  told: {{address: "127.0.0.1:{told}", to: mail, protocol: opaque}}
services:
  redis: {{endpoints: ["127.0.0.1:{redis_behind}"]}}
  mail: {{endpoints: ["127.0.0.1:{mail_behind}"]}}
"""
PORTS = ("admin", "redis", "mail", "told", "redis_behind")


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs to say hello and goodbye."""

    def handle(self) -> None:
        self.wfile.write(b"220 mail.example.org\r\n")
        for line in self.rfile:
            is_last = line.upper().startswith(b"QUIT")
            self.wfile.write(b"221 bye\r\n" if is_last else b"250 ok\r\n")
            if is_last:
                return


@attrs.frozen
class Place:
    """A proxy's ports."""

    ports: dict[str, int]
    log: Path

    def redis(self, *arguments: str, given: bytes | None = None) -> str:
        """What redis-cli prints, asked through the proxy."""
        ran = subprocess.run(
            ["redis-cli", "-p", str(self.ports["redis"]), *arguments],
            input=given,
            capture_output=True,
            timeout=20,
            check=True,
        )
        return ran.stdout.decode().strip()

    def results(self) -> list[str]:
        """The lines of the detections' counter."""
        url = f"http://127.0.0.1:{self.ports['admin']}/metrics"
        lines = httpx.get(url).text.splitlines()
        return [each for each in lines if each.startswith("tulle_detect_total")]


@contextmanager
def mail() -> Iterator[int]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    with server:
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("detection")
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    with mail() as behind:
        text = MESH.format(**ports, mail_behind=behind, limit=LIMIT)
        (folder / "mesh.yaml").write_text(text)
        listening = [ports[name] for name in ("redis", "mail", "told")]
        arguments = ["-c", str(folder / "mesh.yaml")]
        with running(arguments, listening, folder / "log"):
            yield Place(ports, folder / "log")


@pytest.fixture(scope="module")
def redis(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("redis")
    port = str(place.ports["redis_behind"])
    command = [
        needed("redis-server"),
        "--port",
        port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
    ]
    server = subprocess.Popen(
        [*command, "--dir", str(folder)], stdout=subprocess.DEVNULL
    )
    try:
        ping = [needed("redis-cli"), "-p", port, "ping"]
        eventually(lambda: subprocess.run(ping, capture_output=True).returncode == 0)
        yield
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.usefixtures("redis")
def test_redis_is_asked_without_anybody_being_told_of_it(place: Place) -> None:
    assert place.redis("ping") == "PONG"
    assert place.redis("set", "/key", "value") == "OK"
    assert place.redis("get", "/key") == "value"
    eventually(
        lambda: any('"redis",result="opaque"} 3' in each for each in place.results())
    )


@pytest.mark.usefixtures("redis")
def test_a_large_value_goes_both_ways_whole(place: Place) -> None:
    value = "0123456789abcdef" * 300_000

    assert place.redis("-x", "set", "large", given=value.encode()) == "OK"
    assert place.redis("get", "large") == value


@pytest.mark.usefixtures("redis")
def test_many_clients_ask_redis_at_once(place: Place) -> None:
    port = str(place.ports["redis"])
    many = ["-c", "50", "-n", "5000", "-P", "4", "-t", "set,get", "-q"]
    ran = subprocess.run(
        ["redis-benchmark", "-p", port, *many], capture_output=True, timeout=60
    )

    assert ran.returncode == 0
    assert b"rror" not in ran.stdout + ran.stderr


def seconds_to_hello(port: int) -> float:
    begun = time.monotonic()
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        assert client.ehlo()[0] == 250
    return time.monotonic() - begun


def test_a_server_that_speaks_first_is_heard_behind_the_limit(place: Place) -> None:
    assert seconds_to_hello(place.ports["mail"]) >= LIMIT
    told = f"address=127.0.0.1:{place.ports['mail']}"
    eventually(lambda: told in place.log.read_text())
    eventually(
        lambda: any('"mail",result="timeout"} 1' in each for each in place.results())
    )


def test_a_server_that_speaks_first_is_heard_at_once_where_the_file_says_so(
    place: Place,
) -> None:
    assert seconds_to_hello(place.ports["told"]) < LIMIT
