"""HTTP/2 with curl, nghttp, h2load, nghttpd, nginx, HAProxy and Envoy."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

from proxy.codec import h2
from tests.authority import API, root
from tests.processes.intermediaries import PROGRAMS
from tests.processes.origin import Origin, digest, pattern
from tests.processes.pair import WAYS, Pair, paired
from tests.processes.programs import listening, needed
from tests.processes.talk import answered, chunked_request, connect
from tests.wire.running import free_ports, running

pytestmark = pytest.mark.slow

SIZE = 1_000_000
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
APPS = ("http1", "http2")
CLIENTS = {"http1": "--http1.1", "http2": "--http2-prior-knowledge"}
LIMITED = 10
"""Streams that one of the servers grants on a connection."""
NGINX = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{}}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{h2c} http2;
    listen 127.0.0.1:{https} ssl http2;
    ssl_protocols TLSv1.3;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
    location / {{ return 200 "$server_protocol\\n"; }}
    location /body {{ root {folder}; }}
  }}
}}
"""
TLS = """\
version: 1
listeners:
  web:
    address: "127.0.0.1:{port}"
    to: app
    connection: [{{tls: {{certificate: server.pem, key: server.key}}}}]
services:
  app: {{endpoints: ["127.0.0.1:{origin}"]}}
"""


@attrs.frozen
class Place:
    """An HTTP/1.1 origin and HTTP/2 servers, and a proxy with two ways to each."""

    folder: Path
    origin: Origin
    pair: Pair
    ports: dict[str, int]

    def url(self, app: str, way: str, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.pair.port(app, way)}{path}"

    def curl(self, *arguments: str | Path) -> bytes:
        """What curl prints."""
        command = ["curl", "-sS", "--max-time", "20", *arguments]
        ran = subprocess.run(command, cwd=self.folder, capture_output=True)
        assert ran.returncode == 0, ran.stderr.decode()
        return ran.stdout

    def run(self, *command: str | Path) -> str:
        """What a program of nghttp2's prints."""
        ran = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=30
        )
        assert ran.returncode == 0, ran.stderr
        return COLOUR.sub("", ran.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    for program in ("curl", "nginx", "nghttpd", "nghttp", "h2load"):
        needed(program)
    folder = tmp_path_factory.mktemp("http2")
    (folder / "body").write_bytes(b"".join(pattern(SIZE)))
    authority = root()
    authority.write(folder, "trusted")
    authority.issue(uris=[API], dns=["localhost"]).write(folder, "server")
    names = ("h2c", "https", "nghttpd", "limited", "nghttpd_tls")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, **ports))
    conf = str(folder / "nginx.conf")
    nginx = [needed("nginx"), "-p", str(folder), "-c", conf, "-e", "stderr"]
    nghttpd = [needed("nghttpd"), "-a", "127.0.0.1", "-d", str(folder)]
    echo = [*nghttpd, "--no-tls", "--echo-upload", "--trailer", "x-sum: 6"]
    limited = [*nghttpd, "--no-tls", "-m", str(LIMITED)]
    secure = [*nghttpd, str(ports["nghttpd_tls"])]
    with ExitStack() as stack:
        origin = stack.enter_context(Origin())
        servers = [
            (nginx, ["h2c", "https"]),
            ([*echo, str(ports["nghttpd"])], ["nghttpd"]),
            ([*limited, str(ports["limited"])], ["limited"]),
            (
                [*secure, f"{folder}/server.key", f"{folder}/server.pem"],
                ["nghttpd_tls"],
            ),
        ]
        for command, listens in servers:
            log = folder / f"{listens[0]}.log"
            where = [ports[each] for each in listens]
            stack.enter_context(listening(command, where, log))
        apps = {
            "http1": origin.port,
            "http2": ports["nghttpd"],
            "nginx": ports["h2c"],
            "limited": ports["limited"],
        }
        protocols = {"http1": "http1", "http2": "http2"}
        pair = stack.enter_context(paired(folder, apps, protocols))
        yield Place(folder, origin, pair, ports)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """The option that has curl speak one protocol or the other."""
    return CLIENTS[request.param]


def test_a_body_reaches_an_http1_origin_and_another_comes_back(
    place: Place, client: str, way: str
) -> None:
    upload = ("--data-binary", "@body", place.url("http1", way, "/seen"))

    seen = json.loads(place.curl(client, *upload))
    got = place.curl(client, place.url("http1", way, f"/pattern/{SIZE}"))

    assert seen["line"] == "POST /seen HTTP/1.1"
    assert seen["digest"] == digest(pattern(SIZE))
    assert digest(iter([got])) == digest(pattern(SIZE))


def test_an_http2_origin_sends_a_body_back(place: Place, client: str, way: str) -> None:
    url = place.url("http2", way, "/echo")

    echoed = place.curl(client, "--data-binary", "@body", url)

    assert digest(iter([echoed])) == digest(pattern(SIZE))


def test_curl_is_answered_in_what_it_speaks(
    place: Place, client: str, way: str
) -> None:
    version = ("-o", "version", "-w", "%{http_version}")

    said = place.curl(client, *version, place.url("nginx", way))

    assert said == (b"2" if "2" in client else b"1.1")


def test_nginx_is_spoken_to_as_the_client_speaks(place: Place, way: str) -> None:
    # Its port without TLS knows HTTP/2 alone: what comes is what is sent.
    assert place.curl(CLIENTS["http2"], place.url("nginx", way)) == b"HTTP/2.0\n"


def test_trailers_come_from_an_http1_origin(place: Place, way: str) -> None:
    said = place.run("nghttp", "-nv", place.url("http1", way, "/chunked/300000"))

    assert f"x-digest: {digest(pattern(300_000))}" in said


def test_trailers_come_from_an_http2_origin(place: Place, way: str) -> None:
    said = place.run("nghttp", "-nv", place.url("http2", way, "/body"))

    assert re.search(r"recv \(stream_id=\d+\) x-sum: 6", said)


def test_trailers_that_travelled_as_http2_come_out_as_http1(
    place: Place, way: str
) -> None:
    url = place.url("http1", way, "/chunked/300000")

    said = place.curl(CLIENTS["http1"], "-D", "-", "-o", "got", url).decode()

    assert said.rstrip().endswith(f"x-digest: {digest(pattern(300_000))}")
    assert (place.folder / "got").read_bytes() == b"".join(pattern(300_000))


def test_trailers_of_nghttp_reach_an_http1_origin(place: Place, way: str) -> None:
    upload = ("-d", "body", "--no-content-length", "--trailer", "x-sum: 6")

    said = place.run("nghttp", *upload, place.url("http1", way, "/seen"))

    seen = json.loads(said)
    assert seen["digest"] == digest(pattern(SIZE))
    assert seen["trailers"] == {"x-sum": "6"}


def test_trailers_of_http1_come_out_as_they_went_in(place: Place) -> None:
    with connect(place.pair.port("http1", "pair")) as sock:
        sock.sendall(chunked_request("/seen", [b"one", b"two"], {"x-sum": "6"}))
        status, body = answered(sock)

    assert status == 200
    assert json.loads(body)["trailers"] == {"x-sum": "6"}


@pytest.mark.parametrize("app", ["nginx", "limited"])
def test_h2load_is_answered_every_time(place: Place, app: str, way: str) -> None:
    # Ten times the streams that one of the servers grants on a connection.
    count = 2000 if h2.library() == "ngh2" else 400  # python's h2 is slow
    load = ("h2load", "-n", f"{count}", "-c", "2", "-m", "50")

    said = place.run(*load, place.url(app, way, "/body"))

    done = f"{count} total, {count} started, {count} done, {count} succeeded, 0 failed"
    assert done in said
    assert f"status codes: {count} 2xx" in said


def test_curl_negotiates_by_alpn(place: Place) -> None:
    (port,) = free_ports(1)
    mesh = place.folder / "tls.yaml"
    mesh.write_text(TLS.format(port=port, origin=place.origin.port))
    with running(["-c", str(mesh)], [port], place.folder / "tls.log"):
        url = f"https://localhost:{port}/pattern/{SIZE}"
        trusting = (
            "--cacert",
            "trusted.pem",
            "-4",
            "-w",
            "%{http_version}",
            "-o",
            "got",
        )
        for option, version in (("--http2", b"2"), ("--http1.1", b"1.1")):
            assert place.curl(option, *trusting, url) == version
            assert (place.folder / "got").read_bytes() == b"".join(pattern(SIZE))


@pytest.mark.parametrize(
    ("scheme", "server"),
    [("h2c", "nghttpd"), ("h2c", "h2c"), ("https", "https"), ("https", "nghttpd_tls")],
)
def test_one_line_proxies_to_an_http2_server(
    place: Place, scheme: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(place.folder / "trusted.pem"))
    (port,) = free_ports(1)
    host = "localhost" if scheme == "https" else "127.0.0.1"
    to = f"{scheme}://{host}:{place.ports[server]}"
    arguments = ["--listen", f"127.0.0.1:{port}", "--to", to]
    with running(arguments, [port], place.folder / "line.log"):
        for option in CLIENTS.values():
            got = place.curl(option, f"http://127.0.0.1:{port}/body")
            assert digest(iter([got])) == digest(pattern(SIZE))


@pytest.mark.parametrize("hop", PROGRAMS)
def test_other_proxies_stand_before_and_behind(
    place: Place, hop: str, tmp_path: Path
) -> None:
    before, tulle, behind = free_ports(3)
    ports = {"before": before, "tulle": tulle, "behind": behind}
    command = PROGRAMS[hop](tmp_path, origin=place.origin.port, **ports)
    to = f"h2c://127.0.0.1:{behind}"
    arguments = ["--listen", f"127.0.0.1:{tulle}", "--to", to]
    url = f"http://127.0.0.1:{before}"
    upload = ("-d", "body", "--no-content-length", "--trailer", "x-sum: 6")
    with (
        running(arguments, [tulle], tmp_path / "tulle.log"),
        listening(command, [before, behind], tmp_path / "hop.log"),
    ):
        seen = json.loads(place.run("nghttp", *upload, f"{url}/seen"))
        got = place.curl(CLIENTS["http2"], f"{url}/pattern/{SIZE}")
        trailed = place.run("nghttp", "-nv", f"{url}/chunked/300000")

    assert seen["digest"] == digest(pattern(SIZE))
    assert seen["trailers"] == {"x-sum": "6"}
    assert digest(iter([got])) == digest(pattern(SIZE))
    assert f"x-digest: {digest(pattern(300_000))}" in trailed


def test_a_client_of_http_1_0_sees_http_1_0_through_the_pair(place: Place) -> None:
    url = place.url("http1", "pair", "/chunked/300000")

    said = place.curl("-0", "-D", "-", "-o", "got", url).lower()

    assert b"transfer-encoding" not in said
    assert b"connection: close" in said
    assert (place.folder / "got").read_bytes() == b"".join(pattern(300_000))


@pytest.mark.parametrize(
    "field",
    [
        "tulle-orig-proto: HTTP/1.0",
        "Tulle-Orig-Proto: HTTP/1.1",
        "TULLE-ORIG-PROTO: nonsense",
        "tulle-orig-proto;",  # curl's way to send an empty one
    ],
)
def test_how_a_request_travelled_is_no_business_of_the_apps(
    place: Place, client: str, way: str, field: str
) -> None:
    twice = ("-H", field, "-H", "tulle-orig-proto: HTTP/1.1")

    seen = json.loads(place.curl(client, *twice, place.url("http1", way, "/seen")))

    assert seen["line"] == "GET /seen HTTP/1.1"
    assert "tulle-orig-proto" not in seen["headers"]
