"""What users run before and behind a proxy: curl, Python's clients, WebSockets, nginx."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import httpx
import pytest
import trio
from websockets.sync.client import connect as open_websocket

from tests.processes.nginx import nginx
from tests.processes.origin import Origin, digest, pattern
from tests.processes.programs import needed
from tests.processes.talk import answered, chunked_request, connect, echoing
from tests.processes.waiting import PATIENCE
from tests.wire.running import free_ports, running

MESH = """\
version: 1
listeners:
  web: {{address: "127.0.0.1:{web}", to: app}}
  v6: {{address: "[::1]:{v6}", to: app}}
  local: {{address: "unix:web.sock", to: app}}
  files: {{address: "127.0.0.1:{files}", to: nginx}}
  echo: {{address: "127.0.0.1:{echo}", to: echo}}
  hosts: {{address: "127.0.0.1:{hosts}", to: {{by: host}}}}
services:
  app: {{endpoints: ["127.0.0.1:{origin}"]}}
  nginx: {{endpoints: ["127.0.0.1:{nginx}"]}}
  echo: {{endpoints: ["127.0.0.1:{echoing}"]}}
"""
LISTENERS = ("web", "files", "echo", "hosts")


@attrs.frozen
class Place:
    """A proxy's ports and folder, and the origin behind it."""

    folder: Path
    ports: dict[str, int]
    origin: Origin

    def url(self, path: str, listener: str = "web") -> str:
        return f"http://127.0.0.1:{self.ports[listener]}{path}"

    def curl(self, *arguments: str | Path, body: bytes | None = None) -> str:
        """What curl prints, its own words behind what it received."""
        ran = subprocess.run(
            ["curl", "-sS", "--max-time", "20", *arguments],
            cwd=self.folder,
            input=body,
            capture_output=True,
        )
        assert ran.returncode == 0, ran.stderr.decode()
        return ran.stdout.decode() + ran.stderr.decode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    needed("curl")
    folder = tmp_path_factory.mktemp("real")
    (folder / "file.txt").write_text("0123456789\n")
    with Origin() as origin, nginx(folder) as fast, echoing() as echo:
        names = (*LISTENERS, "v6")
        listening = dict(zip(names, free_ports(len(names)), strict=True))
        behind = {"origin": origin.port, "nginx": fast, "echoing": echo}
        (folder / "mesh.yaml").write_text(MESH.format(**listening, **behind))
        checked = [listening[name] for name in LISTENERS]
        arguments = ["-c", str(folder / "mesh.yaml")]
        with running(arguments, checked, folder / "proxy.log"):
            yield Place(folder, listening, origin)


def test_curl_keeps_its_connection(place: Place) -> None:
    url = place.url("/status/200")

    said = place.curl("-w", "%{num_connects}\n", url, url, url)

    assert said == "as asked\n1\n" + "as asked\n0\n" * 2


def test_pipelined_requests_are_answered_in_order(place: Place) -> None:
    with connect(place.ports["web"]) as sock:
        for status in (200, 404, 500, 201):
            sock.sendall(f"GET /status/{status} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        read = b""
        while read.count(b"as asked\n") < 4:
            data = sock.recv(65536)
            assert data, read
            read += data

    assert re.findall(rb"HTTP/1.1 (\d+)", read) == [b"200", b"404", b"500", b"201"]


def test_curl_waits_for_100_continue_of_a_big_upload(place: Place) -> None:
    size = 8 * 1024 * 1024
    (place.folder / "upload").write_bytes(b"".join(pattern(size)))

    said = place.curl("-v", "-T", "upload", place.url("/seen"))

    assert "> Expect: 100-continue" in said
    assert said.count("< HTTP/1.1 100 Continue") == 1
    assert digest(pattern(size)) in said


def test_curl_uploads_in_chunks(place: Place) -> None:
    body = b"".join(pattern(300_000))

    seen = json.loads(place.curl("-T", "-", place.url("/seen"), body=body))

    assert seen["headers"]["transfer-encoding"] == "chunked"
    assert seen["digest"] == digest(pattern(300_000))


def test_trailers_of_a_request_arrive(place: Place) -> None:
    with connect(place.ports["web"]) as sock:
        sock.sendall(chunked_request("/seen", [b"one", b"two"], {"x-sum": "6"}))
        status, body = answered(sock)

    assert status == 200
    assert json.loads(body)["trailers"] == {"x-sum": "6"}


def test_curl_receives_chunks_and_trailers(place: Place) -> None:
    (place.folder / "got").unlink(missing_ok=True)

    said = place.curl("-D", "-", "-o", "got", place.url("/chunked/300000"))

    assert (place.folder / "got").read_bytes() == b"".join(pattern(300_000))
    assert "transfer-encoding: chunked" in said.lower()
    assert said.rstrip().endswith(f"x-digest: {digest(pattern(300_000))}")


def test_head_has_a_length_and_no_body(place: Place) -> None:
    url = place.url("/pattern/12345")

    said = place.curl("-I", "-w", "%{size_download} %{num_connects}\n", url, url)

    assert said.count("Content-Length: 12345") == 2
    assert said.endswith("0 0\n")


@pytest.mark.parametrize("status", [204, 304])
def test_a_bodiless_status_leaves_the_connection_usable(
    place: Place, status: int
) -> None:
    client = http.client.HTTPConnection("127.0.0.1", place.ports["web"], timeout=10)
    for _ in range(3):
        client.request("GET", f"/status/{status}")
        response = client.getresponse()
        assert (response.status, response.read()) == (status, b"")
        client.request("GET", "/status/200")
        response = client.getresponse()
        assert (response.status, response.read()) == (200, b"as asked\n")
    client.close()


def test_a_client_of_http_1_0_gets_chunks_without_chunking(place: Place) -> None:
    said = place.curl("-0", "-o", "got", "-D", "-", place.url("/chunked/300000"))

    assert (place.folder / "got").read_bytes() == b"".join(pattern(300_000))
    assert "transfer-encoding" not in said.lower()
    assert "connection: close" in said.lower()


def test_curl_uses_it_as_its_proxy(place: Place) -> None:
    through = ("-x", place.url("", "hosts"))

    seen = json.loads(place.curl(*through, "http://app/seen?a=b"))
    refused = place.curl(*through, "-i", "http://elsewhere.test/")

    assert seen["line"] == "GET /seen?a=b HTTP/1.1"
    assert seen["headers"]["host"] == "app"
    assert refused.startswith("HTTP/1.1 404")
    assert "elsewhere.test" in refused


def test_curl_gets_no_tunnel(place: Place) -> None:
    ran = subprocess.run(
        ["curl", "-sS", "-p", "-x", place.url("", "hosts"), "http://app/"],
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 56
    assert "405" in ran.stderr


def test_curl_comes_by_a_unix_socket(place: Place) -> None:
    said = place.curl("--unix-socket", "web.sock", "http://app/status/200")

    assert said == "as asked\n"


def test_curl_comes_by_ipv6(place: Place) -> None:
    said = place.curl("-g", f"http://[::1]:{place.ports['v6']}/status/200")

    assert said == "as asked\n"


def test_each_event_arrives_when_it_is_sent(place: Place) -> None:
    client = http.client.HTTPConnection("127.0.0.1", place.ports["web"], timeout=10)
    client.request("GET", "/events/5")
    response = client.getresponse()

    for number in range(5):
        # The origin sends no next one before this one has been read here.
        place.origin.released.release()
        assert response.read1(100) == f"data: {number}\n\n".encode()

    assert response.read() == b""
    client.close()


def test_the_origin_learns_that_a_client_has_gone(place: Place) -> None:
    place.origin.gone.clear()
    with connect(place.ports["web"]) as sock:
        sock.sendall(b"GET /forever HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 200"
        assert not place.origin.gone.is_set()

    assert place.origin.gone.wait(PATIENCE)


def test_a_websocket_passes_through(place: Place) -> None:
    url = f"ws://127.0.0.1:{place.ports['echo']}"
    # Over a mebibyte one way the relay splices.
    messages: list[str | bytes] = ["text", b"", b"".join(pattern(3_000_000)), "more"]

    with open_websocket(url, compression=None, max_size=None) as websocket:
        for message in messages:
            websocket.send(message)
            assert websocket.recv(PATIENCE) == message
        assert websocket.ping().wait(PATIENCE)
        websocket.close(4000, "enough")

        assert websocket.close_code == 4000


def test_a_websocket_refused_by_the_origin_is_plain_http(place: Place) -> None:
    client = http.client.HTTPConnection("127.0.0.1", place.ports["web"], timeout=10)
    offer = {"Connection": "Upgrade", "Upgrade": "websocket"}
    for _ in range(2):
        client.request("GET", "/status/403", headers=offer)
        response = client.getresponse()
        assert (response.status, response.read()) == (403, b"as asked\n")
    client.close()


def test_nginx_serves_ranges_and_conditions(place: Place) -> None:
    url = place.url("/file.txt", "files")

    assert place.curl("-r", "2-4", url) == "234"
    assert place.curl("-o", "x", "-z", "file.txt", "-w", "%{http_code}", url) == "304"
    assert place.curl("-o", "x", "-w", "%{http_code}", url + "x") == "404"


def test_nginx_refuses_a_body_early_and_curl_hears_it(place: Place) -> None:
    (place.folder / "big").write_bytes(bytes(4 * 1024 * 1024))

    said = place.curl("-i", "-T", "big", place.url("/file.txt", "files"))

    assert "HTTP/1.1 413" in said


def test_httpx_keeps_its_connections(place: Place) -> None:
    with httpx.Client(base_url=place.url("")) as client:
        for _ in range(20):
            assert client.get("/status/200").text == "as asked\n"
        seen = client.post("/seen", content=pattern(300_000)).json()

    assert seen["digest"] == digest(pattern(300_000))
    assert seen["headers"]["user-agent"].startswith("python-httpx")


async def test_httpx_asks_much_at_once(place: Place) -> None:
    async with httpx.AsyncClient(base_url=place.url(""), timeout=20) as client:
        statuses: list[int] = []

        async def ask(status: int) -> None:
            statuses.append((await client.get(f"/status/{status}")).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                for status in (200, 404, 503):
                    nursery.start_soon(ask, status)

    assert sorted(statuses) == [200] * 20 + [404] * 20 + [503] * 20


def test_a_half_closed_client_of_tcp_is_answered(place: Place, tmp_path: Path) -> None:
    web, behind = free_ports(2)
    arguments = ["--listen", f"127.0.0.1:{web}", "--to", f"tcp://127.0.0.1:{behind}"]
    with (
        socket.create_server(("127.0.0.1", behind)) as server,
        running(arguments, [web], tmp_path / "log"),
    ):
        server.settimeout(PATIENCE)
        server.accept()[0].close()  # what asked whether the proxy listens
        with connect(web) as client:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            upstream, _ = server.accept()
            with upstream, upstream.makefile("rb") as reader:
                assert reader.read() == b"question"
                upstream.sendall(b"answer")
            with client.makefile("rb") as reader:
                assert reader.read() == b"answer"
