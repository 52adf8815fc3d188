from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from meshfilters.errors import ConfigError, HandshakeFailed, MeshError, Refused
from meshfilters.exchange import Connection, Endpoint
from meshfilters.memory import MemoryStream, stream_pair
from meshfilters.stream import Stream
from meshfilters.testing import Kit
from meshfilters.tls import FAREWELL, Tls, TlsDial
from tests.authority import API, WEB, Issued, root, self_signed

ROOT = root()
SERVER = ROOT.issue(uris=[API], dns=["api.test"])
CLIENT = ROOT.issue(uris=[WEB])
HANDSHAKES = "tulle_tls_handshakes_total"


@attrs.define
class Side:
    """One end's filter, and how its handshake came out."""

    kit: Kit = attrs.field(factory=lambda: Kit("tls", "inbound"))
    connection: Connection | None = None
    stream: Stream | None = None
    error: MeshError | None = None

    @property
    def results(self) -> list[str]:
        return [str(labels[1]) for labels in self.kit.counts(HANDSHAKES)]


@attrs.define
class Meeting:
    """A dial filter and a connection filter, at the two ends of a memory stream."""

    folder: Path
    server: Side = attrs.field(factory=Side)
    client: Side = attrs.field(factory=Side)

    def files(self, issued: Issued, name: str) -> dict[str, Path]:
        certificate, key = issued.write(self.folder, name)
        return {"certificate": certificate, "key": key}

    def tls(self, issued: Issued = SERVER, **settings: object) -> Tls:
        roots = {"clients": ROOT.write(self.folder)}
        return Tls(**{**self.files(issued, "server"), **roots, **settings})  # type: ignore[arg-type]  # the test says which

    def dial(self, issued: Issued | None = CLIENT, **settings: object) -> TlsDial:
        shown = {} if issued is None else self.files(issued, "client")
        given = {"roots": ROOT.write(self.folder), "name": API, **shown, **settings}
        return TlsDial(**given)  # type: ignore[arg-type]  # the test says which

    async def hold(
        self, tls: Tls, dial: TlsDial, endpoint: Endpoint | None = None
    ) -> None:
        """Let them meet; the server answers what it receives, once."""
        near, far = stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.accept, tls, far)
            await self.connect(dial, near, endpoint)
            if self.client.stream is not None:
                await self.talk(self.client.stream)

    async def accept(self, tls: Tls, stream: MemoryStream) -> None:
        side = self.server

        async def inner(connection: Connection, /) -> None:
            side.connection, side.stream = connection, connection.stream
            await connection.stream.send_all(await connection.stream.receive_some())

        connection = Connection(stream, "192.0.2.1:1", "web", "inbound")
        try:
            await tls.build(side.kit.env)(connection, inner)
        except MeshError as error:
            side.error = error
        await stream.aclose()

    async def connect(
        self, dial: TlsDial, stream: MemoryStream, endpoint: Endpoint | None = None
    ) -> None:
        async def inner(endpoint: Endpoint, /) -> Stream:
            return stream

        wanted = endpoint or Endpoint("api", "198.51.100.1:80")
        try:
            self.client.stream = await dial.build(self.client.kit.env)(wanted, inner)
        except MeshError as error:
            self.client.error = error
            assert stream.is_closed

    async def talk(self, stream: Stream) -> None:
        try:
            await stream.send_all(b"ping")
            assert await stream.receive_some() == b"ping"
        except trio.BrokenResourceError as error:
            # The server's verdict on our certificate comes behind our handshake.
            self.client.error = HandshakeFailed(str(error))
        await stream.aclose()


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    return Meeting(tmp_path)


async def test_each_side_proves_its_name_to_the_other(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(), meeting.dial())

    assert meeting.server.connection is not None
    assert meeting.server.connection.identity == WEB
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.version == "TLSv1.3"
    assert meeting.server.connection.tls.alpn == "http/1.1"
    assert meeting.client.stream is not None
    assert meeting.client.stream.tls is not None
    assert meeting.client.stream.tls.peer is not None
    assert meeting.client.stream.tls.peer.identity == API
    assert meeting.server.results == meeting.client.results == ["ok"]


async def test_what_the_filters_do_not_touch_passes_through(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(), meeting.dial())

    assert meeting.server.error is None
    assert meeting.client.error is None


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")

FAULTS: dict[str, tuple[Callable[[str], Issued], str, str]] = {
    "expired": (lambda name: ROOT.issue(uris=[name], ends=-1), "expired", "expired"),
    "not yet valid": (
        lambda name: ROOT.issue(uris=[name], starts=40),
        "not yet valid",
        "bad certificate",
    ),
    "of another root of that name": (
        lambda name: root("root").issue(uris=[name]),
        "untrusted",
        "unknown ca",
    ),
    "of an unknown root": (
        lambda name: root("other").issue(uris=[name]),
        "untrusted",
        "unknown ca",
    ),
    "self-signed": (lambda name: self_signed(uris=[name]), "untrusted", "unknown ca"),
    "without its intermediate": (
        lambda name: attrs.evolve(
            ROOT.intermediate().issue(uris=[name]), intermediates=()
        ),
        "untrusted",
        "unknown ca",
    ),
    "below too long a path": (
        lambda name: ROOT.intermediate(path_length=0).intermediate().issue(uris=[name]),
        "bad certificate",
        "unknown ca",
    ),
    "with an unknown critical extension": (
        lambda name: ROOT.issue(uris=[name], extra=[(UNKNOWN, True)]),
        "bad certificate",
        "certificate",
    ),
    "with a NUL in a name": (
        lambda name: ROOT.issue(uris=[name], dns=["api.test\0.evil.test"]),
        "bad name",
        "alert",
    ),
    "with two SPIFFE IDs": (
        lambda name: ROOT.issue(uris=[name, f"{name}-2"]),
        "bad name",
        "alert",
    ),
    "with a malformed SPIFFE ID": (
        lambda name: ROOT.issue(uris=["spiffe://example.org/ns/../sa/web"]),
        "bad name",
        "alert",
    ),
    "without any name": (lambda name: ROOT.issue(common_name=""), "bad name", "alert"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_client_is_refused_whose_certificate_is(
    meeting: Meeting, fault: str
) -> None:
    make, result, alert = FAULTS[fault]

    await meeting.hold(meeting.tls(), meeting.dial(make(WEB)))

    assert isinstance(meeting.server.error, Refused)
    assert meeting.server.connection is None
    assert meeting.server.results == [result]
    assert alert in str(meeting.client.error)


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_upstream_is_refused_whose_certificate_is(
    meeting: Meeting, fault: str
) -> None:
    make, result, alert = FAULTS[fault]

    await meeting.hold(meeting.tls(make(API)), meeting.dial())

    assert isinstance(meeting.client.error, HandshakeFailed)
    assert meeting.client.error.status == 502
    assert meeting.client.stream is None
    assert meeting.client.results == [result]
    assert meeting.server.connection is None
    assert alert in str(meeting.server.error)
    assert meeting.server.results == ["alert"]


async def test_a_client_without_a_certificate_is_refused(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(None))

    assert meeting.server.results == ["no certificate"]
    assert "certificate required" in str(meeting.client.error)


async def test_a_client_without_a_certificate_may_be_let_in(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(client_certificate="optional"), meeting.dial(None))

    assert meeting.client.error is None
    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.identity is None


async def test_a_bad_certificate_is_refused_where_none_would_do(
    meeting: Meeting,
) -> None:
    bad = root("other").issue(uris=[WEB])

    await meeting.hold(meeting.tls(client_certificate="optional"), meeting.dial(bad))

    assert meeting.server.results == ["untrusted"]


async def test_without_roots_no_client_is_asked_for_a_certificate(
    meeting: Meeting,
) -> None:
    await meeting.hold(meeting.tls(clients=None), meeting.dial())

    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.identity is None


SERVERS_ONLY, CLIENTS_ONLY = (
    [ExtendedKeyUsageOID.SERVER_AUTH],
    [ExtendedKeyUsageOID.CLIENT_AUTH],
)


async def test_a_servers_certificate_is_none_for_a_client(meeting: Meeting) -> None:
    await meeting.hold(
        meeting.tls(), meeting.dial(ROOT.issue(uris=[WEB], usages=SERVERS_ONLY))
    )

    assert meeting.server.results == ["wrong purpose"]


async def test_a_clients_certificate_is_none_for_a_server(meeting: Meeting) -> None:
    await meeting.hold(
        meeting.tls(ROOT.issue(uris=[API], usages=CLIENTS_ONLY)), meeting.dial()
    )

    assert meeting.client.results == ["wrong purpose"]


async def test_a_certificate_may_be_a_little_ahead_of_our_clock(
    meeting: Meeting,
) -> None:
    await meeting.hold(
        meeting.tls(ROOT.issue(uris=[API], starts=10)),
        meeting.dial(ROOT.issue(uris=[WEB], starts=10)),
    )

    assert meeting.server.results == meeting.client.results == ["ok"]


async def test_intermediates_are_sent_along(meeting: Meeting) -> None:
    issuer = ROOT.intermediate()

    await meeting.hold(
        meeting.tls(issuer.issue(uris=[API])), meeting.dial(issuer.issue(uris=[WEB]))
    )

    assert meeting.client.error is None


WRONG_NAMES = {
    "another workload": ROOT.issue(uris=[f"{API}-2"]),
    "in other letters": ROOT.issue(uris=[API.replace("api", "Api")]),
    "with a slash behind it": ROOT.issue(dns=["x.test"], uris=[f"other:{API}/"]),
    "its DNS name only": ROOT.issue(dns=["api.test"]),
    "in its subject only": ROOT.issue(common_name=API),
}


@pytest.mark.parametrize("issued", WRONG_NAMES.values(), ids=list(WRONG_NAMES))
async def test_an_upstream_of_another_name_is_refused(
    meeting: Meeting, issued: Issued
) -> None:
    await meeting.hold(meeting.tls(issued), meeting.dial())

    assert isinstance(meeting.client.error, HandshakeFailed)
    assert f"wanted '{API}'" in str(meeting.client.error)
    assert meeting.client.results == ["wrong name"]
    assert meeting.client.stream is None


async def test_a_dns_name_is_wanted_and_sent_as_the_server_name(
    meeting: Meeting,
) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(name="api.test"))

    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.server_name == "api.test"


async def test_the_endpoints_host_is_the_name_where_none_is_given(
    meeting: Meeting,
) -> None:
    endpoint = Endpoint("api", "198.51.100.1:443", "api.test")

    await meeting.hold(meeting.tls(), meeting.dial(name=None), endpoint)

    assert meeting.client.results == ["ok"]
    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.server_name == "api.test"


async def test_without_any_name_to_prove_nobody_is_trusted(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(name=None))

    assert meeting.client.results == ["wrong name"]


async def test_another_server_name_may_be_sent_than_is_wanted(
    meeting: Meeting,
) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(server_name="edge.test"))

    assert meeting.client.results == ["ok"]
    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.server_name == "edge.test"


async def test_a_client_that_speaks_no_protocol_of_ours_is_refused(
    meeting: Meeting,
) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(alpn=("h2",)))

    assert meeting.server.results == ["no protocol"]
    assert "no application protocol" in str(meeting.client.error)


async def test_a_client_need_not_name_a_protocol(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(alpn=()))

    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.alpn is None


async def test_tls_1_2_is_spoken_where_it_is_allowed(
    meeting: Meeting, autojump_clock: trio.testing.MockClock
) -> None:
    from OpenSSL import SSL

    dial = meeting.dial(minimum_version=1.2)
    await meeting.hold(meeting.tls(minimum_version=1.2), dial)
    assert meeting.server.results == ["ok"]

    near, far = stream_pair()
    old = SSL.Context(SSL.TLS_CLIENT_METHOD)
    old.set_max_proto_version(SSL.TLS1_2_VERSION)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meeting.accept, meeting.tls(clients=None), far)
        with pytest.raises(trio.BrokenResourceError, match="protocol version"):
            await near.start_tls(old, server_side=False)
    assert meeting.server.results == ["ok", "protocol"]


async def test_plain_text_is_refused_where_tls_is_required(
    meeting: Meeting, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = stream_pair()
    await near.send_all(b"GET / HTTP/1.1\r\n\r\n")

    await meeting.accept(meeting.tls(), far)

    assert "plain text" in str(meeting.server.error)
    assert meeting.server.results == ["plain refused"]
    assert await near.receive_some() == b""


async def test_plain_text_goes_on_where_tls_is_optional(meeting: Meeting) -> None:
    near, far = stream_pair()
    await near.send_all(b"GET / HTTP/1.1\r\n\r\n")

    await meeting.accept(meeting.tls(mode="optional"), far)

    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is None
    assert meeting.server.results == ["plain"]
    assert await near.receive_some() == b"GET / HTTP/1.1\r\n\r\n"


async def test_tls_is_ended_where_it_is_optional(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(mode="optional"), meeting.dial())

    assert meeting.server.results == ["ok"]


async def test_tls_passes_through_with_its_server_name_read(meeting: Meeting) -> None:
    near, far = stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meeting.accept, Tls(mode="passthrough"), far)
        dial = meeting.dial(name="api.test")
        await meeting.connect(dial, near)

    # What came back is what the client had sent: a ClientHello, not a ServerHello.
    assert meeting.client.results == ["protocol"]
    assert meeting.server.connection is not None
    assert meeting.server.connection.server_name == "api.test"
    assert meeting.server.connection.tls is None
    assert meeting.server.results == ["passed through"]


async def test_what_is_no_tls_passes_through_as_well(meeting: Meeting) -> None:
    near, far = stream_pair()
    await near.send_all(b"SSH-2.0-x")

    await meeting.accept(Tls(mode="passthrough"), far)

    assert meeting.server.results == ["plain"]
    assert await near.receive_some() == b"SSH-2.0-x"


async def test_half_a_client_hello_does_not_pass_through(meeting: Meeting) -> None:
    near, far = stream_pair()
    await near.send_all(b"\x16\x03\x01")
    await near.send_eof()

    await meeting.accept(Tls(mode="passthrough"), far)

    assert meeting.server.results == ["protocol"]
    assert meeting.server.connection is None


async def test_a_client_that_leaves_without_a_word_is_counted(
    meeting: Meeting,
) -> None:
    near, far = stream_pair()
    await near.send_eof()

    await meeting.accept(meeting.tls(), far)

    assert meeting.server.results == ["closed"]


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02"])
async def test_a_slow_handshake_is_given_up(
    meeting: Meeting, said: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = stream_pair()
    await near.send_all(said)

    await meeting.accept(meeting.tls(), far)

    assert "handshake timeout" in str(meeting.server.error)
    assert meeting.server.results == ["timeout"]
    assert trio.current_time() == pytest.approx(10 + FAREWELL)


async def test_a_slow_upstream_is_given_up(
    meeting: Meeting, autojump_clock: trio.testing.MockClock
) -> None:
    near, _ = stream_pair()

    await meeting.connect(meeting.dial(handshake=3), near)

    assert isinstance(meeting.client.error, HandshakeFailed)
    assert meeting.client.results == ["timeout"]
    assert trio.current_time() == pytest.approx(3)


async def test_an_upstream_that_speaks_plain_text_is_refused(meeting: Meeting) -> None:
    near, far = stream_pair()
    await far.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    await meeting.connect(meeting.dial(), near)

    assert isinstance(meeting.client.error, HandshakeFailed)
    assert meeting.client.results == ["protocol"]


async def test_a_cancelled_dial_closes_its_stream(meeting: Meeting) -> None:
    near, _ = stream_pair()

    with trio.move_on_after(0) as scope:
        await meeting.connect(meeting.dial(), near)

    assert scope.cancelled_caught
    assert near.is_closed


async def test_new_handshakes_take_changed_certificates(
    meeting: Meeting, autojump_clock: trio.testing.MockClock
) -> None:
    settings = meeting.dial()
    replaced = ROOT.issue(uris=[WEB])
    async with meeting.client.kit:
        dial = settings.build(meeting.client.kit.env)
        replaced.write(meeting.folder, "client")
        await trio.sleep(1.1)
        near, far = stream_pair()

        async def inner(endpoint: Endpoint, /) -> Stream:
            return near

        async with trio.open_nursery() as nursery:
            nursery.start_soon(meeting.accept, meeting.tls(), far)
            stream = await dial(Endpoint("api", "198.51.100.1:80"), inner)
            await meeting.talk(stream)

    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.peer is not None
    sha256 = replaced.certificate.fingerprint(SHA256()).hex()
    assert meeting.server.connection.tls.peer.sha256 == sha256
    assert meeting.client.kit.counts("tulle_tls_reloads_total") == {("loaded",): 1}


async def test_a_weak_key_is_refused_at_the_start(meeting: Meeting) -> None:
    weak = ROOT.issue(uris=[WEB], key=rsa.generate_private_key(65537, 1024))

    with pytest.raises(ConfigError, match="key too small"):
        meeting.dial(weak).build(meeting.client.kit.env)


def test_a_missing_file_is_named_at_the_start(tmp_path: Path) -> None:
    settings = Tls(certificate=tmp_path / "web.pem", key=tmp_path / "web.key")

    with pytest.raises(ConfigError, match=r"web\.pem cannot be read: No such file"):
        settings.build(Kit().env)
    assert list(settings.check()) == [
        f"{tmp_path / 'web.pem'} cannot be read: No such file or directory"
    ]


def test_good_files_have_no_problems(meeting: Meeting) -> None:
    assert not list(meeting.tls().check())
    assert not list(meeting.dial().check())
    assert not list(Tls(mode="passthrough").check())
    assert not list(TlsDial(name="api.test").check())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: Tls(certificate=path), "certificate and key go together"),
        (lambda path: TlsDial(key=path), "certificate and key go together"),
        (lambda path: Tls(), "mode required needs a certificate"),
        (lambda path: Tls(mode="passthrough", clients=path), "no use for files"),
        (lambda path: TlsDial(name="spiffe://"), "neither a SPIFFE ID nor"),
        (lambda path: TlsDial(name="10.0.0.1"), "neither a SPIFFE ID nor"),
        (lambda path: TlsDial(name="*.test"), "neither a SPIFFE ID nor"),
        (lambda path: TlsDial(server_name=API), "no DNS name"),
        (lambda path: TlsDial(alpn=("",)), "alpn"),
        (lambda path: TlsDial(minimum_version=1.1), "minimum_version"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    make: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        make(tmp_path)


def test_openssl_is_not_imported_before_a_filter_is_built() -> None:
    code = (
        "import sys, meshfilters.tls as t; t.TlsDial(name='api.test');"
        "sys.exit(bool({'OpenSSL', 'cryptography'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
