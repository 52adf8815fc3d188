"""TLS with programs that others wrote, through processes as users run them."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from tests.authority import API, WEB, Authority, Issued, root
from tests.processes.programs import needed
from tests.wire.running import free_ports, running

pytestmark = pytest.mark.slow

ROOT = root()
MESH = """\
version: 1
listeners:
  inbound:
    address: "127.0.0.1:{inbound}"
    direction: inbound
    to: app
    connection: [{{tls: {{certificate: api.pem, key: api.key, clients: roots.pem}}}}]
  outbound:
    address: "127.0.0.1:{outbound}"
    to: api
  through:
    address: "127.0.0.1:{through}"
    protocol: opaque
    to: terminated
    connection: [{{tls: {{mode: passthrough}}}}]
  opaque:
    address: "127.0.0.1:{opaque}"
    protocol: opaque
    to: api
services:
  app: {{endpoints: ["127.0.0.1:{app}"]}}
  terminated: {{endpoints: ["127.0.0.1:{nginx_tls}"]}}
  api:
    endpoints: ["127.0.0.1:{api}"]
    dial: [{{tls: {{roots: roots.pem, certificate: web.pem, key: web.key,
                    name: "{name}", minimum_version: {minimum}}}}}]
"""
NGINX = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{app};
    listen 127.0.0.1:{nginx_tls} ssl;
    ssl_certificate {folder}/api.pem; ssl_certificate_key {folder}/api.key;
    ssl_client_certificate {folder}/roots.pem; ssl_verify_client optional;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ root {folder}/www; }}
    location /who {{ return 200 "$ssl_client_verify $ssl_protocol\\n"; }}
    location /close {{ keepalive_timeout 0; root {folder}/www; }}
  }}
}}
"""


@attrs.frozen
class Place:
    """A folder with certificates, an nginx, and ports for a proxy."""

    folder: Path
    ports: dict[str, int]

    def curl(self, listener: str, path: str = "/", *more: str) -> str:
        scheme = "http" if listener in ("outbound", "opaque") else "https"
        answered = subprocess.run(
            [
                *("curl", "-sS", "--max-time", "20", "--cacert", "roots.pem"),
                *("--resolve", f"api.test:{self.ports[listener]}:127.0.0.1", *more),
                f"{scheme}://api.test:{self.ports[listener]}{path}",
            ],
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        return answered.stdout + answered.stderr

    def s_client(self, *more: str, said: str = "") -> str:
        """What ``openssl s_client`` prints of a handshake with the inbound listener."""
        answered = subprocess.run(
            [
                *("openssl", "s_client", "-connect"),
                *(f"127.0.0.1:{self.ports['inbound']}", "-CAfile", "roots.pem", *more),
            ],
            cwd=self.folder,
            input=said,
            capture_output=True,
            text=True,
            # It prints what the server says, and HTTP/2 says it in bytes.
            errors="replace",
            timeout=20,
        )
        return answered.stdout + answered.stderr


AS_WEB = ("--cert", "web.pem", "--key", "web.key")
LISTENERS = ("inbound", "outbound", "through", "opaque")


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    program = needed("nginx")
    needed("curl")
    folder = tmp_path_factory.mktemp("tls")
    app, nginx_tls = free_ports(2)
    place = Place(folder, {"app": app, "nginx_tls": nginx_tls})
    ROOT.write(folder)
    ROOT.issue(uris=[API], dns=["api.test"]).write(folder, "api")
    ROOT.issue(uris=[WEB]).write(folder, "web")
    (folder / "www").mkdir()
    (folder / "www" / "index.html").write_text("hello\n")
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, **place.ports))
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"],
            stderr=log,
        )
    yield place
    process.terminate()
    process.wait(10)


@contextmanager
def proxied(nginx: Place, name: str = API, **changed: object) -> Iterator[Place]:
    """A proxy before nginx, on ports of its own."""
    listening = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
    place = Place(nginx.folder, {**nginx.ports, **listening})
    values = {"api": listening["inbound"], "minimum": 1.3, **place.ports, **changed}
    path = place.folder / f"mesh-{listening['inbound']}.yaml"
    path.write_text(MESH.format(name=name, **values))
    log = place.folder / "proxy.log"
    with running(["-c", str(path)], list(listening.values()), log):
        yield place


@pytest.fixture(scope="module")
def place(nginx: Place) -> Iterator[Place]:
    with proxied(nginx) as place:
        yield place


@pytest.fixture(scope="module")
def before_nginx(nginx: Place) -> Iterator[Place]:
    """The service ``api`` is nginx itself."""
    with proxied(nginx, api=nginx.ports["nginx_tls"], minimum=1.2) as place:
        yield place


def test_curl_is_served_with_its_certificate(place: Place) -> None:
    assert place.curl("inbound", "/", *AS_WEB) == "hello\n"
    both = place.curl(
        "inbound", "/", *AS_WEB, f"https://api.test:{place.ports['inbound']}/"
    )
    assert both == "hello\nhello\n"


def test_curl_is_told_that_a_certificate_is_missing(place: Place) -> None:
    assert "certificate required" in place.curl("inbound")


@pytest.mark.parametrize(
    ("issued", "alert"),
    [
        (ROOT.issue(uris=[WEB], ends=-1), "certificate expired"),
        (root("stranger").issue(uris=[WEB]), "unknown ca"),
    ],
)
def test_s_client_is_sent_the_alert(place: Place, issued: Issued, alert: str) -> None:
    issued.write(place.folder, "bad")

    said = place.s_client("-cert", "bad.pem", "-key", "bad.key", "-ign_eof")

    assert f"alert {alert}" in said


def test_s_client_negotiates_tls_1_3_and_http(place: Place) -> None:
    mine = ("-cert", "web.pem", "-key", "web.key")
    said = place.s_client(*mine, "-alpn", "http/1.1")

    assert "New, TLSv1.3" in said
    assert "ALPN protocol: http/1.1" in said
    assert "Verify return code: 0 (ok)" in said
    assert "protocol version" in place.s_client("-tls1_2")
    assert "ALPN protocol: h2" in place.s_client(*mine, "-alpn", "h2")
    assert "no application protocol" in place.s_client("-alpn", "h3")


def test_a_request_goes_from_proxy_to_proxy_over_mutual_tls(place: Place) -> None:
    assert place.curl("outbound") == "hello\n"


@pytest.mark.parametrize("listener", ["outbound", "opaque"])
def test_nginx_verifies_our_certificate(before_nginx: Place, listener: str) -> None:
    assert before_nginx.curl(listener, "/who") == "SUCCESS TLSv1.3\n"


def test_an_upstream_of_another_name_is_a_502(nginx: Place) -> None:
    with proxied(nginx, name=f"{API}-2") as place:
        said = place.curl("outbound", "/", "-i")

    assert "HTTP/1.1 502" in said
    assert "tulle-error: tls handshake failed; by=tls" in said.lower()


def test_tls_passes_through_to_whoever_ends_it(place: Place) -> None:
    assert place.curl("through", "/who", *AS_WEB) == "SUCCESS TLSv1.3\n"


@pytest.mark.parametrize("listener", ["outbound", "inbound"])
def test_a_long_body_comes_whole(place: Place, listener: str) -> None:
    body = hashlib.shake_128(b"seed").digest(32 * 1024 * 1024)
    (place.folder / "www" / "long").write_bytes(body)

    credentials = AS_WEB if listener == "inbound" else ()
    place.curl(listener, "/long", "-o", "got", *credentials)

    assert (place.folder / "got").read_bytes() == body


def serial(place: Place) -> str:
    said = place.s_client("-cert", "web.pem", "-key", "web.key", "-showcerts")
    leaf = subprocess.run(
        ["openssl", "x509", "-noout", "-serial"],
        input=said[said.index("-----BEGIN") :],
        capture_output=True,
        text=True,
        check=True,
    )
    return leaf.stdout


def replace(place: Place, issuer: Authority) -> None:
    """Put a new pair in place as a careful writer does: each by renaming."""
    issuer.issue(uris=[API], dns=["api.test"]).write(place.folder, "next")
    for suffix in ("pem", "key"):
        (place.folder / f"next.{suffix}").rename(place.folder / f"api.{suffix}")


def test_a_new_certificate_is_served_within_seconds(place: Place) -> None:
    before = serial(place)
    replace(place, ROOT)
    deadline = time.monotonic() + 5
    while serial(place) == before:
        assert time.monotonic() < deadline

    assert place.curl("inbound", "/", *AS_WEB) == "hello\n"
