"""Real processes: what dies is replaced, what changes is taken, what ends leaves nothing."""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect as open_websocket

import meshfilters
from tests.processes.talk import echoing

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
SITE = Path(meshfilters.__file__).parents[1]
"""Where the packages are: the checkout, or site-packages when the wheel is tested."""
PATIENCE = 15.0

FILE = """\
version: 1
workers: {workers}
admin: "127.0.0.1:0"
grace: {grace}
listeners:
  web: {{address: "{address}", to: app, direction: inbound, request: [metrics]}}
{more}
services:
  app: {{endpoints: ["{endpoint}"]}}
"""


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, for a bounded time."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"never came to pass: {what}"
        time.sleep(0.02)


@attrs.define(eq=False)
class Proxy:
    """A proxy in a process of its own, its file, and what it logs."""

    folder: Path
    process: subprocess.Popen[bytes] = attrs.field(init=False)

    def write(
        self,
        *,
        workers: int = 1,
        grace: float = 5,
        address: str = "127.0.0.1:0",
        more: str = "",
        endpoint: str = "127.0.0.1:1",
    ) -> None:
        text = FILE.format(
            workers=workers,
            grace=grace,
            address=address,
            more=more,
            endpoint=endpoint,
        )
        (self.folder / "mesh.new").write_text(text)
        (self.folder / "mesh.new").replace(self.folder / "mesh.yaml")

    def start(self, source: Path = ROOT) -> None:
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tulle", "proxy", "-c", "mesh.yaml"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(source)},
            )

    def start_ready(self, source: Path = ROOT) -> None:
        self.start(source)
        eventually(lambda: "ready" in self.log.split(": ")[-1], "ready")
        eventually(self.is_ready, "ready")

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def port(self, name: str) -> int:
        found = re.findall(rf": {name}.* on .*:(\d+)\n", self.log)
        return int(found[-1]) if found else 0

    def ask(self, name: str, path: str = "/") -> tuple[int, str]:
        client = http.client.HTTPConnection("127.0.0.1", self.port(name), timeout=5)
        try:
            client.request("GET", path)
            response = client.getresponse()
            return response.status, response.read().decode()
        finally:
            client.close()

    def is_ready(self) -> bool:
        try:
            return self.ask("admin", "/ready")[0] == 200
        except OSError:
            return False

    def requests(self) -> float:
        page = self.ask("admin", "/metrics")[1]
        return sum(
            float(line.rpartition(" ")[2])
            for line in page.splitlines()
            if line.startswith("request_total{")
        )

    def children(self) -> list[int]:
        """By age: the supervisor starts the workers first and the agent last."""
        pid = self.process.pid
        path = Path(f"/proc/{pid}/task/{pid}/children")
        return [int(each) for each in path.read_text().split()]

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def logged(self, what: str, times: int = 1) -> None:
        eventually(lambda: self.log.count(what) >= times, f"{what!r} in {self.log}")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path)
    yield proxy
    family = [proxy.process.pid]
    if proxy.process.poll() is None:
        family += proxy.children()
        proxy.process.kill()
        proxy.process.wait(PATIENCE)
    # Nothing outlives its supervisor, however that one ended.
    eventually(lambda: not any(map(is_alive, family)), "the end of the children")


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_killed_worker_is_replaced_within_a_second(proxy: Proxy) -> None:
    proxy.write()
    proxy.start_ready()
    worker = proxy.children()[0]

    os.kill(worker, signal.SIGKILL)
    killed = time.monotonic()

    # Waits in the socket's queue until there is a worker again.
    assert proxy.ask("web")[0] == 502
    assert time.monotonic() - killed < 1
    assert worker not in proxy.children()
    proxy.logged("was ended by SIGKILL")


NEEDS = """\
import attrs
from pathlib import Path
from meshfilters.errors import ConfigError

@attrs.frozen
class Needs:
    path: str

    def build(self, env):
        if not Path(self.path).exists():
            raise ConfigError(f"{self.path} is not there")
        return lambda request, inner: inner(request)
"""


def test_a_file_missing_for_a_moment_does_not_end_what_ran(proxy: Proxy) -> None:
    (proxy.folder / "needs.py").write_text(NEEDS)
    file = proxy.folder / "file"
    file.touch()
    chain = f"[{{'needs:Needs': {{path: {file}}}}}]"
    proxy.write(more=f"  more: {{address: '127.0.0.1:0', to: app, request: {chain}}}")
    proxy.start_ready()

    # As while a certificate is renewed: the new key is there and the certificate is not.
    file.unlink()
    os.kill(proxy.children()[0], signal.SIGKILL)
    proxy.logged("is not there")
    file.touch()

    eventually(proxy.is_ready, "ready")
    assert proxy.ask("web")[0] == 502


def test_a_hung_worker_is_replaced(proxy: Proxy) -> None:
    proxy.write()
    proxy.start_ready()
    worker = proxy.children()[0]

    os.kill(worker, signal.SIGSTOP)

    eventually(lambda: not is_alive(worker), "the end of the hung worker")
    proxy.logged("hangs: aborting it")
    eventually(lambda: proxy.ask("web")[0] == 502, "an answer")
    assert worker not in proxy.children()


def test_no_counter_goes_backwards_when_worker_and_agent_die(proxy: Proxy) -> None:
    proxy.write()
    proxy.start_ready()
    for _ in range(3):
        proxy.ask("web")
    assert proxy.requests() == 3
    before = proxy.children()

    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(set(proxy.children()) - set(before)) == 2, "new children")
    eventually(proxy.is_ready, "ready")

    assert proxy.requests() == 3
    proxy.ask("web")
    eventually(lambda: proxy.requests() == 4, "the fourth request")
    page = proxy.ask("admin", "/metrics")[1]
    assert "tulle_worker_restarts_total 1" in page


def test_a_new_agent_counts_nothing_twice(proxy: Proxy) -> None:
    proxy.write()
    proxy.start_ready()
    for _ in range(3):
        proxy.ask("web")
    assert proxy.requests() == 3
    worker, agent = proxy.children()

    os.kill(agent, signal.SIGKILL)
    eventually(lambda: agent not in proxy.children(), "the agent's end")
    eventually(proxy.is_ready, "ready")

    assert worker in proxy.children()
    assert proxy.requests() == 3
    proxy.ask("web")
    eventually(lambda: proxy.requests() == 4, "the fourth request")


def test_a_changed_file_is_taken_without_a_new_worker(proxy: Proxy) -> None:
    proxy.write()
    proxy.start_ready()
    children = proxy.children()

    proxy.write(grace=7, more='  other: {address: "127.0.0.1:0", to: app}')

    proxy.logged("the configuration is in use")
    eventually(lambda: proxy.port("other"), "the port of the other")
    assert proxy.ask("other")[0] == 502
    assert proxy.ask("web")[0] == 502
    assert proxy.children() == children


def test_a_listener_that_is_taken_out_closes(proxy: Proxy) -> None:
    proxy.write(more='  other: {address: "127.0.0.1:0", to: app}')
    proxy.start_ready()
    assert proxy.ask("other")[0] == 502

    proxy.write()
    proxy.hang_up()

    proxy.logged("the configuration is in use")

    def is_closed() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", proxy.port("other"))) != 0

    eventually(is_closed, "the other's end")
    assert proxy.ask("web")[0] == 502


def test_a_file_that_cannot_work_changes_nothing(proxy: Proxy) -> None:
    proxy.write()
    proxy.start_ready()
    children = proxy.children()

    proxy.write(more="  bad: {address: nowhere, to: nobody}")
    proxy.hang_up()

    proxy.logged("the configuration stays as it was")
    assert "nowhere" in proxy.log
    assert "nobody" in proxy.log
    assert proxy.ask("web")[0] == 502
    assert proxy.children() == children


@pytest.mark.parametrize(
    "more",
    [
        f'  big: {{address: "127.0.0.1:0", to: app, backlog: {2**31}}}',
        f'  big: {{address: "127.0.0.1:0", to: app, detect_timeout: 1{"0" * 400}}}',
    ],
    ids=["of the kernel's", "of a float"],
)
def test_a_number_too_large_changes_nothing(more: str, proxy: Proxy) -> None:
    proxy.write()
    proxy.start_ready()
    children = proxy.children()

    proxy.write(more=more)
    proxy.hang_up()

    proxy.logged("the configuration stays as it was")
    assert proxy.ask("web")[0] == 502
    assert proxy.children() == children


def test_an_address_that_is_taken_changes_nothing(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        proxy.write()
        proxy.start_ready()

        proxy.write(more=f'  other: {{address: "127.0.0.1:{port}", to: app}}')
        proxy.hang_up()

        proxy.logged(f"cannot listen on 127.0.0.1:{port}: the address is in use")
        assert proxy.ask("web")[0] == 502


def test_workers_grow_and_shrink(proxy: Proxy) -> None:
    proxy.write()
    proxy.start_ready()

    proxy.write(workers=3)
    eventually(lambda: len(proxy.children()) == 4, "three workers and an agent")
    eventually(proxy.is_ready, "ready")
    assert {proxy.ask("web")[0] for _ in range(20)} == {502}
    proxy.write(workers=1)

    eventually(lambda: len(proxy.children()) == 2, "a worker and an agent")
    assert {proxy.ask("web")[0] for _ in range(20)} == {502}


def test_a_change_of_code_is_taken_by_new_workers(proxy: Proxy, tmp_path: Path) -> None:
    source = copied(tmp_path)
    proxy.write(workers=2)
    proxy.start_ready(source)
    proxy.ask("web")
    before = proxy.children()

    with (source / "proxy" / "supervisor" / "limits.py").open("a") as module:
        module.write("\n")
    proxy.hang_up()
    failed = 0
    end = time.monotonic() + PATIENCE
    while set(proxy.children()) & set(before):
        assert time.monotonic() < end, proxy.log
        failed += proxy.ask("web")[0] != 502

    assert not failed
    eventually(proxy.is_ready, "ready")
    assert len(proxy.children()) == 3
    assert proxy.requests() > 1
    assert proxy.end() == 0


def test_code_that_does_not_import_changes_nothing(
    proxy: Proxy, tmp_path: Path
) -> None:
    source = copied(tmp_path)
    proxy.write()
    proxy.start_ready(source)
    before = proxy.children()

    (source / "proxy" / "supervisor" / "limits.py").write_text(
        "raise RuntimeError('broken')"
    )
    proxy.hang_up()

    proxy.logged("the code on the disk does not work: this one goes on")
    assert "broken" in proxy.log
    assert proxy.children() == before
    assert proxy.ask("web")[0] == 502


def copied(folder: Path) -> Path:
    """The packages, to be edited."""
    source = folder / "source"
    for each in ("meshfilters", "proxy", "controlplane", "tulle"):
        shutil.copytree(SITE / each, source / each)
    return source


def test_sigterm_lets_a_request_finish_and_readiness_goes_first(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as origin:
        origin.settimeout(PATIENCE)
        proxy.write(grace=30, endpoint=f"127.0.0.1:{origin.getsockname()[1]}")
        proxy.start_ready()
        client = http.client.HTTPConnection("127.0.0.1", proxy.port("web"), timeout=5)
        client.request("GET", "/")
        upstream, _ = origin.accept()
        upstream.recv(4096)

        proxy.process.send_signal(signal.SIGTERM)

        eventually(lambda: not proxy.is_ready(), "not ready")
        assert proxy.ask("admin", "/ready")[0] == 503
        upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
        assert client.getresponse().read() == b"well"
        client.close()
        upstream.close()

    assert proxy.process.wait(PATIENCE) == 0


def test_sigterm_lets_an_open_websocket_go_on_until_it_ends(proxy: Proxy) -> None:
    with echoing() as echo:
        proxy.write(grace=30, endpoint=f"127.0.0.1:{echo}")
        proxy.start_ready()
        with open_websocket(f"ws://127.0.0.1:{proxy.port('web')}/") as websocket:
            proxy.process.send_signal(signal.SIGTERM)
            proxy.logged("finishing within 30 s")
            eventually(lambda: not proxy.is_ready(), "not ready")

            websocket.send("still")

            assert websocket.recv(PATIENCE) == "still"
        assert proxy.process.wait(PATIENCE) == 0
    assert "grace is over" not in proxy.log


def test_an_open_websocket_ends_with_the_grace(proxy: Proxy) -> None:
    with echoing() as echo:
        proxy.write(grace=0.5, endpoint=f"127.0.0.1:{echo}")
        proxy.start_ready()
        with open_websocket(f"ws://127.0.0.1:{proxy.port('web')}/") as websocket:
            proxy.process.send_signal(signal.SIGTERM)

            with pytest.raises(ConnectionClosedError):
                websocket.recv(PATIENCE)

            assert proxy.process.wait(PATIENCE) == 0
    assert "grace is over listener=web connections=1 cut" in proxy.log
    assert re.search(r"worker-0 \(pid \d+\) ended with exit code 0", proxy.log)


@pytest.fixture
def full() -> Iterator[int]:
    """A pipe that is full and that nobody reads."""
    reading, writing = os.pipe()
    os.write(writing, b"." * fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ))
    yield writing
    os.close(reading)
    os.close(writing)


def test_sigterm_ends_what_nobody_reads_the_log_of(proxy: Proxy, full: int) -> None:
    proxy.write(address="unix:web.sock")
    command = [sys.executable, "-m", "tulle", "proxy", "-c", "mesh.yaml"]
    proxy.process = subprocess.Popen(command, cwd=proxy.folder, stderr=full)
    eventually((proxy.folder / "web.sock").exists, "a socket")
    eventually(lambda: len(proxy.children()) == 2, "the children")

    assert proxy.end() == 0


def test_no_socket_takes_the_place_of_a_closed_standard_error(proxy: Proxy) -> None:
    proxy.write(address="unix:web.sock")
    command = f"exec {sys.executable} -m tulle proxy -c mesh.yaml 0<&- 1>&- 2>&-"
    proxy.process = subprocess.Popen(["sh", "-c", command], cwd=proxy.folder)
    eventually((proxy.folder / "web.sock").exists, "a socket")
    eventually(lambda: len(proxy.children()) == 2, "the children")

    for pid in [proxy.process.pid, *proxy.children()]:
        assert os.readlink(f"/proc/{pid}/fd/2") == os.devnull
    assert proxy.end() == 0


def test_a_second_signal_ends_at_once(proxy: Proxy) -> None:
    proxy.write(grace=60)
    proxy.start_ready()
    children = proxy.children()
    with socket.create_connection(("127.0.0.1", proxy.port("web"))) as busy:
        busy.sendall(b"GET / HTTP/1.1\r\n")
        proxy.process.send_signal(signal.SIGTERM)
        proxy.logged("finishing within 60 s")
        # Signals closer together than this are one that came twice.
        time.sleep(0.4)

        proxy.process.send_signal(signal.SIGTERM)

        assert proxy.process.wait(5) == 1
    assert not any(map(is_alive, children))


def test_children_do_not_outlive_a_killed_supervisor(proxy: Proxy) -> None:
    proxy.write(workers=2)
    proxy.start_ready()
    children = proxy.children()
    assert len(children) == 3

    proxy.process.kill()
    proxy.process.wait(PATIENCE)

    eventually(lambda: not any(map(is_alive, children)), "the end of the children")


def test_an_address_in_use_is_one_sentence_and_exit_code_3(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        proxy.write(address=address)
        proxy.start()

        assert proxy.process.wait(PATIENCE) == 3

    assert f"cannot listen on {address}: the address is in use" in proxy.log
    assert "Traceback" not in proxy.log


def test_another_proxys_address_is_in_use_too(proxy: Proxy, tmp_path: Path) -> None:
    proxy.write()
    proxy.start_ready()
    second = Proxy(tmp_path / "second")
    second.folder.mkdir()
    second.write(address=f"127.0.0.1:{proxy.port('web')}")
    second.start()

    assert second.process.wait(PATIENCE) == 3
    assert "the address is in use" in second.log


def test_a_wrong_file_is_exit_code_2(proxy: Proxy) -> None:
    proxy.write(more="  bad: {address: nowhere, to: nobody}")
    proxy.start()

    assert proxy.process.wait(PATIENCE) == 2
    assert "nowhere" in proxy.log
    assert "Traceback" not in proxy.log


def test_a_unix_socket_is_served_and_removed(proxy: Proxy, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    proxy.write(address="unix:web.sock", workers=2)
    proxy.start_ready()

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 502"

    assert proxy.end() == 0
    assert not path.exists()
