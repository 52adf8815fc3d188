"""Every example runs, and does what it is there to show."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import httpx
import pytest

from tests.processes import cart
from tests.processes.origin import Origin
from tests.processes.talk import answered, connect
from tests.processes.waiting import PATIENCE, eventually
from tests.wire.running import Running, free_ports, running

EXAMPLES = Path(__file__).parents[2] / "examples"
WRITTEN = re.compile(r"127\.0\.0\.1:(\d+)")
SAMPLED = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}


@attrs.frozen
class Examples:
    """A copy of the examples, on ports that are free."""

    folder: Path
    ports: dict[int, int]
    """By the ports that the files are written with."""

    def url(self, written: int, path: str = "/seen") -> str:
        return f"http://127.0.0.1:{self.ports[written]}{path}"

    def origin(self, written: int) -> Origin:
        return Origin(self.ports[written])

    @contextmanager
    def run(self, name: str, *written: int) -> Iterator[Running]:
        """Run an example, which is to listen on these ports."""
        ports = [self.ports[each] for each in written]
        log = self.folder / f"{name.replace('/', '-')}.log"
        with running(["-c", str(self.folder / name)], ports, log) as proxy:
            yield proxy

    def counted(self, start: str, admin: int = 4191) -> float:
        """The sum of the metrics whose lines start so."""
        page = httpx.get(self.url(admin, "/metrics")).text
        lines = [line for line in page.splitlines() if line.startswith(start)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder)
    texts = {path: path.read_text() for path in folder.rglob("*.yaml")}
    written = sorted({int(port) for t in texts.values() for port in WRITTEN.findall(t)})
    ports = dict(zip(written, free_ports(len(written)), strict=True))
    for path, text in texts.items():
        changed = WRITTEN.sub(lambda m: f"127.0.0.1:{ports[int(m[1])]}", text)
        path.write_text(changed)
    return Examples(folder, ports)


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()

    for path in EXAMPLES.rglob("*.yaml"):
        assert f'"{path.relative_to(EXAMPLES)}"' in text


def test_http_proxies_and_counts(examples: Examples) -> None:
    with examples.origin(9000), examples.run("http.yaml", 8080, 4191):
        answer = httpx.get(examples.url(8080))

        assert answer.json()["line"] == "GET /seen HTTP/1.1"
        assert examples.counted("request_total{") == 1


def test_headers_are_set_and_removed(examples: Examples) -> None:
    with examples.origin(9000), examples.run("headers.yaml", 8080):
        answer = httpx.get(examples.url(8080), headers={"x-debug": "1"})

    assert answer.headers["x-served-by"] == "tulle"
    assert "server" not in answer.headers
    assert answer.json()["headers"]["x-environment"] == "staging"
    assert "x-debug" not in answer.json()["headers"]


@pytest.mark.slow
def test_split_sends_a_tenth_to_v2_and_hides_its_failures(examples: Examples) -> None:
    asked = 200
    with (
        examples.origin(9001) as first,
        examples.origin(9002) as second,
        examples.run("split.yaml", 8080, 4191),
        httpx.Client() as client,
    ):
        second.fails = True
        statuses = {client.get(examples.url(8080)).status_code for _ in range(asked)}
        drawn = examples.counted("tulle_split_chosen_total{")

    failed = (len(second.paths) + 1) // 2
    assert failed > 0
    assert statuses == {200}
    assert drawn == len(first.paths) + len(second.paths) == asked + failed
    # Mean 0.1; further off than this once in a hundred thousand runs.
    assert len(second.paths) / drawn < 0.22


def test_by_host_goes_where_the_host_says(examples: Examples) -> None:
    with (
        examples.origin(9001) as reviews,
        examples.origin(9002) as ratings,
        examples.run("by_host.yaml", 8080),
    ):
        answers = {
            host: httpx.get(examples.url(8080, f"/{host}"), headers={"Host": host})
            for host in ("reviews", "ratings", "unknown")
        }

    assert list(reviews.paths) == ["/reviews"]
    assert list(ratings.paths) == ["/ratings"]
    assert answers["unknown"].status_code == 404
    assert "unknown" in answers["unknown"].text


def test_tcp_passes_bytes_and_counts_them(examples: Examples) -> None:
    with (
        socket.create_server(("127.0.0.1", examples.ports[5432])) as database,
        examples.run("tcp.yaml", 6432, 4191),
        connect(examples.ports[6432]) as client,
    ):
        client.sendall(b"select")
        upstream, read = database.accept()[0], b""
        while not read:
            # What asked whether the proxy listens came first, and said nothing.
            read = upstream.recv(100)
            if not read:
                upstream.close()
                upstream = database.accept()[0]
        upstream.sendall(b"rows")
        upstream.close()

        assert read == b"select"
        assert client.recv(100) == b"rows"
        assert client.recv(100) == b""
        client.close()
        eventually(
            lambda: examples.counted("tulle_tcp_received_bytes_total{") == len(b"rows")
        )


def test_unix_sockets_are_on_both_sides(examples: Examples) -> None:
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as client,
    ):
        listener.bind(str(examples.folder / "app.sock"))
        listener.listen()
        listener.settimeout(PATIENCE)
        with examples.run("unix.yaml"):
            web = str(examples.folder / "web.sock")
            eventually(lambda: client.connect_ex(web) == 0)
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            upstream, _ = listener.accept()
            with upstream:
                assert upstream.recv(4096).startswith(b"GET / HTTP/1.1\r\n")
                upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                assert answered(client) == (200, b"hi")


def test_observe_writes_a_line_and_sends_a_span(examples: Examples) -> None:
    with (
        examples.origin(9000),
        examples.origin(4318) as collector,
        examples.run("observe.yaml", 8080) as proxy,
    ):
        httpx.get(examples.url(8080, "/status/404"), headers=SAMPLED)
        eventually(lambda: "/v1/traces" in collector.paths)
        eventually(lambda: "/status/404" in proxy.log.read_text())
        lines = [json.loads(line) for line in proxy.log.read_text().splitlines()]

    assert any("404" in json.dumps(line) for line in lines)


def test_grpc_is_sent_again_held_to_deadlines_and_counted(examples: Examples) -> None:
    with (
        cart.serving(examples.ports[9000]) as server,
        examples.run("grpc.yaml", 8080, 4191),
    ):
        hurried = cart.ask(examples.ports[8080], 5)
        patient = cart.ask(examples.ports[8080], 100)
        get = 'dst="cart",grpc_service="shop.Cart",grpc_method="Get",grpc_code="OK"'
        eventually(
            lambda: (
                examples.counted(
                    f'grpc_client_handled_total{{direction="outbound",{get}}}'
                )
                == 2
            )
        )

    assert server.calls == 4
    assert 0 < hurried < 6
    assert 6 < patient < 11  # rounding is the library's


def test_mtls_tells_the_application_who_called(examples: Examples) -> None:
    subprocess.run(
        [examples.folder / "mtls" / "certificates.sh"], check=True, capture_output=True
    )
    with ExitStack() as stack:
        stack.enter_context(examples.origin(9000))
        stack.enter_context(examples.run("mtls/inbound.yaml", 4143, 4191))
        stack.enter_context(examples.run("mtls/outbound.yaml", 4140, 4192))
        seen = httpx.get(examples.url(4140)).json()["headers"]
        with pytest.raises(httpx.TransportError):
            httpx.get(examples.url(4143))

    caller = "spiffe://example.org/ns/shop/sa/web"
    assert seen["l5d-client-id"] == caller
    assert f"URI={caller}" in seen["x-forwarded-client-cert"]


def test_a_local_filter_refuses_what_changes_anything(examples: Examples) -> None:
    with (
        examples.origin(9000) as origin,
        examples.run("local_filter/mesh.yaml", 8080),
    ):
        read = httpx.get(examples.url(8080))
        deleted = httpx.delete(examples.url(8080))

    assert (read.status_code, deleted.status_code) == (200, 403)
    assert "read only" in deleted.text
    assert len(origin.paths) == 1
