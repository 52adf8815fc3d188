"""No HTTP/2 head that is wrong becomes a byte of HTTP/1.1 towards an origin."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import attrs
import pytest

from tests.wire.certificates import issue
from tests.wire.client import Address
from tests.wire.frames import GET, Fields, Frames
from tests.wire.origin import Origin
from tests.wire.running import free_ports, running

pytestmark = [pytest.mark.slow, pytest.mark.wire]

MESH = """\
version: 1
listeners:
  plain: {{address: "127.0.0.1:{plain}", to: app}}
  tls:
    address: "127.0.0.1:{tls}"
    to: app
    connection: [{{tls: {{certificate: api.pem, key: api.key, clients: roots.pem}}}}]
services:
  app: {{endpoints: ["{origin}"], protocol: http1}}
"""
LEGS = ("plain", "tls")

M, S, A, P = GET


def get(*more: tuple[bytes, bytes]) -> Fields:
    return (*GET, *more)


def pseudo(
    method: bytes = b"GET",
    scheme: bytes = b"http",
    authority: bytes = b"app",
    path: bytes = b"/",
) -> Fields:
    return (
        (b":method", method),
        (b":scheme", scheme),
        (b":authority", authority),
        (b":path", path),
    )


NAMES = [
    b"x y",
    b"x:y",
    b"X-Upper",
    b"x\r\ny",
    b"x\ny",
    b"x\ry",
    b"x\x00y",
    b"",
    b"x\x7f",
    b"x\xff",
    b"x(y)",
    b" x",
    b"x ",
    b"x\ty",
    b"x\r\ncontent-length: 5\r\n",
]
VALUES = [
    b"a\r\nb: c",
    b"a\nb",
    b"a\rb",
    b"a\x00b",
    b"a\x01b",
    b"a\x7fb",
    b" a",
    b"a ",
    b"\ta",
    b"a\t",
    b"a\r\n\r\nGET /evil HTTP/1.1\r\nHost: app\r\n\r\n",
]
PATHS = [
    b"",
    b"x",
    b"/ x",
    b"/x y",
    b"/x\r\nHost: evil",
    b"/x HTTP/1.1\r\n\r\n",
    b"/x\x00",
    b"/x\x7f",
    b"/x#frag",
    b"/%zz",
    b"/%00",
    b"*",
    b"http://app/",
    b"/caf\xc3\xa9",
]
METHODS = [b"", b"G ET", b"GET /", b"GET\r\n", b"G(T", b"GET\x00", b"X" * 65]
SCHEMES = [b"", b"http://x/?", b"ftp", b"http ", b"HTTP\r\n"]
AUTHORITIES = [
    b"app,evil",
    b"app/x",
    b"app evil",
    b"user@app",
    b"app\r\nx: y",
    b"[::1",
    b"",
]

CASES: dict[str, Fields] = {
    **{f"name {each!r}": get((each, b"v")) for each in NAMES},
    **{f"value {each!r}": get((b"x-v", each)) for each in VALUES},
    **{f"path {each!r}": pseudo(path=each) for each in PATHS},
    **{f"method {each[:9]!r}": pseudo(method=each) for each in METHODS},
    **{f"scheme {each!r}": pseudo(scheme=each) for each in SCHEMES},
    **{f"authority {each!r}": pseudo(authority=each) for each in AUTHORITIES},
    "transfer-encoding": get((b"transfer-encoding", b"chunked")),
    "connection": get((b"connection", b"close")),
    "connection names": get((b"connection", b"x-v"), (b"x-v", b"1")),
    "keep-alive": get((b"keep-alive", b"1")),
    "proxy-connection": get((b"proxy-connection", b"x")),
    "upgrade": get((b"upgrade", b"h2c")),
    "upgrade websocket": get((b"upgrade", b"websocket")),
    "http2-settings": get((b"http2-settings", b"AAMAAABk")),
    "te": get((b"te", b"chunked")),
    "te list": get((b"te", b"trailers, chunked")),
    "host differs": get((b"host", b"evil")),
    "host twice": get((b"host", b"app"), (b"host", b"app")),
    "no host": (M, S, P),
    "no method": (S, A, P),
    "no scheme": (M, A, P),
    "no path": (M, S, A),
    "method twice": (M, M, S, A, P),
    "path twice": (M, S, A, P, (b":path", b"/evil")),
    "authority twice": (M, S, A, (b":authority", b"evil"), P),
    "unknown pseudo": (M, S, A, P, (b":evil", b"x")),
    "status in a request": (M, S, A, P, (b":status", b"200")),
    "late pseudo": (M, S, A, (b"x-v", b"1"), P),
    "length of nothing": get((b"content-length", b"5")),
    "length twice": get((b"content-length", b"0"), (b"content-length", b"5")),
    "length list": get((b"content-length", b"0, 0")),
    "length negative": get((b"content-length", b"-1")),
    "length signed": get((b"content-length", b"+0")),
    "length hexadecimal": get((b"content-length", b"0x0")),
    "length endless": get((b"content-length", b"1" * 30)),
    "underscore": get((b"content_length", b"5")),
    "underscore te": get((b"transfer_encoding", b"chunked")),
    "protocol without connect": get((b":protocol", b"websocket")),
    "connect with a path": pseudo(method=b"CONNECT"),
}


@attrs.frozen
class Place:
    """A proxy's listeners: HTTP/2 seen in what comes, and agreed on over TLS."""

    addresses: dict[str, Address]
    context: ssl.SSLContext

    def connect(self, leg: str) -> Frames:
        tls = self.context if leg == "tls" else None
        return Frames(self.addresses[leg], tls=tls)


@pytest.fixture(scope="module")
def place(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("downgrade")
    context = issue(folder)
    ports = dict(zip(LEGS, free_ports(len(LEGS)), strict=True))
    behind = "{}:{}".format(*origin.address)
    (folder / "mesh.yaml").write_text(MESH.format(**ports, origin=behind))
    arguments = ["-c", str(folder / "mesh.yaml")]
    with running(arguments, [*ports.values()], folder / "proxy.log") as proxy:
        yield Place(dict(zip(LEGS, proxy.addresses, strict=True)), context)


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("name", CASES)
def test_nothing_of_it_reaches_the_origin(
    place: Place, origin: Origin, name: str, leg: str
) -> None:
    origin.take()

    with place.connect(leg) as client:
        answer = client.ask(1, CASES[name])
        refused = answer.reset is not None or (answer.status or 500) >= 400
        assert refused or client.goaway is not None or client.has_ended

    assert origin.take() == []


def test_there_are_as_many_cases_as_were_promised() -> None:
    assert len(CASES) >= 80


def test_the_leg_over_tls_has_agreed_on_http2(place: Place) -> None:
    with place.connect("tls") as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize("leg", LEGS)
def test_what_is_right_gets_through(place: Place, origin: Origin, leg: str) -> None:
    origin.take()

    with place.connect(leg) as client:
        crumbs = ((b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"te", b"trailers"))
        answer = client.ask(1, get(*crumbs, (b"host", b"app")))

    assert answer.status == 200
    (message,) = origin.take()
    assert message.getall(b"cookie") == [b"a=1; b=2"]
    assert message.getall(b"host") == [b"app"]
    assert not message.has(b"te")
