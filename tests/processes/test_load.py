"""Much at once and much in all: nothing fails, memory stays, changes are not noticed."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import httpx
import pytest

import meshfilters
from tests.processes.nginx import nginx
from tests.processes.origin import BLOCK, Origin, digest, pattern
from tests.processes.programs import needed
from tests.processes.talk import answered, connect
from tests.processes.waiting import PATIENCE, eventually
from tests.wire.running import Running, free_ports, running

pytestmark = pytest.mark.slow

SITE = Path(meshfilters.__file__).parents[1]
"""Where the packages are: the checkout, or site-packages when the wheel is tested."""
MIB = 1024 * 1024
GIB = 1024 * MIB
GOOD = "200 True"
SPARE = 16 * MIB
"""Bytes that all processes may hold more of while a GiB passes."""

MESH = """\
version: 1
workers: {workers}
admin: "127.0.0.1:{admin}"
grace: 20
listeners:
  web: {{address: "127.0.0.1:{web}", to: app,
         request: [metrics, {{timeout: {{head: {head}}}}}, retry]}}
  tcp: {{address: "127.0.0.1:{tcp}", protocol: opaque, to: app}}
services:
  app: {{endpoints: ["127.0.0.1:{app}"]}}
"""


@attrs.frozen
class Place:
    """A proxy before an origin, its ports and its file."""

    folder: Path
    ports: dict[str, int]
    proxy: Running

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['web']}/small"

    def write(self, *, head: float) -> None:
        write(self.folder, head=head, workers=1, **self.ports)

    def statistics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.ports['admin']}/stats").text

    def await_changes(self, count: int) -> None:
        log, taken = self.proxy.log, "the configuration is in use"
        eventually(lambda: log.read_text().count(taken) >= count)


def write(folder: Path, **values: object) -> None:
    (folder / "mesh.new").write_text(MESH.format(**values))
    (folder / "mesh.new").replace(folder / "mesh.yaml")


@contextmanager
def placed(folder: Path, app: int, *, workers: int = 1) -> Iterator[Place]:
    names = ("web", "tcp", "admin")
    ports = {**dict(zip(names, free_ports(3), strict=True)), "app": app}
    write(folder, head=10, workers=workers, **ports)
    arguments = ["-c", str(folder / "mesh.yaml")]
    with running(arguments, [ports[name] for name in names], folder / "log") as proxy:
        yield Place(folder, ports, proxy)


@pytest.fixture
def before_nginx(tmp_path: Path) -> Iterator[Place]:
    with nginx(tmp_path) as app, placed(tmp_path, app) as place:
        yield place


@pytest.fixture
def before_origin(tmp_path: Path) -> Iterator[Place]:
    with Origin() as origin, placed(tmp_path, origin.port) as place:
        yield place


def tool(*command: str) -> subprocess.Popen[str]:
    needed(command[0])
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


def test_wrk_counts_no_error(before_nginx: Place) -> None:
    output = said(tool("wrk", "-t2", "-c64", "-d3s", before_nginx.url))

    assert "requests in" in output
    assert "Socket errors" not in output
    assert "Non-2xx" not in output


def test_h2load_speaks_http_1_through_the_command_without_a_file(
    before_nginx: Place, tmp_path: Path
) -> None:
    web, admin = free_ports(2)
    arguments = [
        *("--listen", f"127.0.0.1:{web}", "--admin", f"127.0.0.1:{admin}"),
        *("--to", f"127.0.0.1:{before_nginx.ports['app']}"),
    ]
    with running(arguments, [web, admin], tmp_path / "second.log"):
        url = f"http://127.0.0.1:{web}/small"
        output = said(tool("h2load", "--h1", "-n", "5000", "-c", "50", url))
        page = httpx.get(f"http://127.0.0.1:{admin}/metrics").text

    assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in output
    counted = [line for line in page.splitlines() if line.startswith("request_total{")]
    assert sum(float(line.rpartition(" ")[2]) for line in counted) == 5000


def test_a_thousand_connections_are_open_at_once(before_nginx: Place) -> None:
    with ExitStack() as stack:
        opened = [
            stack.enter_context(connect(before_nginx.ports["web"])) for _ in range(1000)
        ]
        for _ in range(2):
            for sock in opened:
                sock.sendall(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n")
            assert [answered(sock) for sock in opened] == [(200, b"small\n")] * 1000
        statistics = before_nginx.statistics()

    assert "<Http 0 active 1000 idle>" in statistics


# A GiB


class Watch:
    """Whether the proxy's memory stays while much passes through it."""

    def __init__(self, proxy: Running) -> None:
        self._proxy = proxy
        self._warm = 0
        self.most = 0

    def look(self, passed: int) -> None:
        """Every 32 MiB; the first of them make everything warm."""
        if passed % (32 * MIB) < BLOCK:
            held = self._proxy.resident()
            self._warm = self._warm if passed > 32 * MIB else held
            self.most = max(self.most, held)

    @property
    def grown(self) -> int:
        return self.most - self._warm


@pytest.mark.parametrize("listener", ["web", "tcp"])
@pytest.mark.parametrize("word", ["pattern", "chunked"])
def test_a_gib_comes_down_whole_in_flat_memory(
    before_origin: Place, listener: str, word: str
) -> None:
    watch = Watch(before_origin.proxy)
    client = http.client.HTTPConnection(
        "127.0.0.1", before_origin.ports[listener], timeout=60
    )
    client.request("GET", f"/{word}/{GIB}")
    response = client.getresponse()

    def received() -> Iterator[bytes]:
        passed = 0
        while data := response.read1(BLOCK):
            watch.look(passed)
            passed += len(data)
            yield data

    assert digest(received()) == digest(pattern(GIB))
    client.close()
    assert watch.grown < SPARE


@pytest.mark.parametrize("listener", ["web", "tcp"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_gib_goes_up_whole_in_flat_memory(
    before_origin: Place, listener: str, is_chunked: bool
) -> None:
    watch = Watch(before_origin.proxy)
    client = http.client.HTTPConnection(
        "127.0.0.1", before_origin.ports[listener], timeout=60
    )

    def sent() -> Iterator[bytes]:
        for number, block in enumerate(pattern(GIB)):
            watch.look(number * BLOCK)
            yield block

    framing = {} if is_chunked else {"Content-Length": str(GIB)}
    client.request("PUT", "/seen", sent(), framing, encode_chunked=is_chunked)
    seen = json.loads(client.getresponse().read())

    assert seen["digest"] == digest(pattern(GIB))
    client.close()
    assert watch.grown < SPARE


# Changes and endings while clients are at it


@attrs.define(eq=False)
class Clients:
    """Keep-alive clients that ask until told to stop, or until nobody listens."""

    port: int
    results: Counter[str] = attrs.field(factory=Counter)
    over: threading.Event = attrs.field(factory=threading.Event)
    _threads: list[threading.Thread] = attrs.field(factory=list)

    def start(self, count: int) -> None:
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def await_more(self, more: int) -> None:
        enough = self.results.total() + more
        eventually(lambda: self.results.total() >= enough)

    def _ask(self) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.over.is_set():
            age = "reused"
            if client.sock is None:
                age = "new"
                # Only a connection that was made has a request that can fail.
                try:
                    client.connect()
                except ConnectionRefusedError:
                    break
            result = self._ask_once(client)
            self.results[result if result == GOOD else f"{age}: {result}"] += 1
        client.close()

    def _ask_once(self, client: http.client.HTTPConnection) -> str:
        try:
            client.request("GET", "/small")
            response = client.getresponse()
            whole = response.read() == b"small\n"
        except (OSError, http.client.HTTPException) as error:
            client.close()
            return repr(error)
        return f"{response.status} {whole}"


@contextmanager
def under_load(place: Place, count: int = 16) -> Iterator[Clients]:
    clients = Clients(place.ports["web"])
    clients.start(count)
    try:
        clients.await_more(10 * count)
        yield clients
    finally:
        clients.stop()


def test_no_request_fails_when_the_file_changes(before_nginx: Place) -> None:
    with under_load(before_nginx) as clients:
        for turn in range(1, 6):
            before_nginx.write(head=10 + turn)
            if turn % 2:
                before_nginx.proxy.process.send_signal(signal.SIGHUP)
            before_nginx.await_changes(turn)
            clients.await_more(50)

    assert set(clients.results) == {GOOD}


def test_wrk_does_not_notice_changes(before_nginx: Place) -> None:
    load = tool("wrk", "-t1", "-c32", "-d5s", before_nginx.url)
    turn = 0
    while load.poll() is None and turn < 100:
        turn += 1
        before_nginx.write(head=10 + turn)
        before_nginx.await_changes(turn)

    output = said(load)
    assert turn > 2
    assert "Socket errors" not in output
    assert "Non-2xx" not in output


def test_no_request_fails_when_the_code_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    for each in ("meshfilters", "proxy", "controlplane", "tulle"):
        shutil.copytree(SITE / each, source / each)
    monkeypatch.setenv("PYTHONPATH", str(source))
    monkeypatch.chdir(tmp_path)  # the other packages are where the tests run
    with nginx(tmp_path) as app, placed(tmp_path, app) as place:
        before = place.proxy.workers
        with under_load(place) as clients:
            with (source / "proxy" / "supervisor" / "limits.py").open("a") as module:
                module.write("\n")
            place.proxy.process.send_signal(signal.SIGHUP)
            eventually(lambda: not before & place.proxy.workers)
        place.proxy.process.send_signal(signal.SIGTERM)
        assert place.proxy.process.wait(PATIENCE) == 0

    assert set(clients.results) == {GOOD}


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_fails_when_it_ends(tmp_path: Path, workers: int) -> None:
    with (
        nginx(tmp_path) as app,
        placed(tmp_path, app, workers=workers) as place,
        under_load(place) as clients,
    ):
        place.proxy.process.send_signal(signal.SIGTERM)

        assert place.proxy.process.wait(PATIENCE) == 0

    assert set(clients.results) == {GOOD}


def test_long_responses_end_whole_within_the_grace(before_origin: Place) -> None:
    size = 64 * MIB
    port = before_origin.ports["web"]
    with ExitStack() as stack:
        opened: list[socket.socket] = [
            stack.enter_context(connect(port)) for _ in range(4)
        ]
        for sock in opened:
            sock.sendall(f"GET /pattern/{size} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert sock.recv(1, socket.MSG_PEEK)
        before_origin.proxy.process.send_signal(signal.SIGTERM)

        whole = digest(pattern(size))
        for sock in opened:
            status, body = answered(sock)
            assert (status, digest(iter([body]))) == (200, whole)

    assert before_origin.proxy.process.wait(PATIENCE) == 0
