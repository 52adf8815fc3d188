from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from meshfilters import openssl
from meshfilters.certificates import Material
from meshfilters.errors import ConfigError
from tests.authority import API, WEB, Issued, root

ROOT = root()
SERVER = ROOT.issue(uris=[API], dns=["api.test"])
CLIENT = ROOT.issue(uris=[WEB])
SERVERS = Material((SERVER.certificate,), SERVER.key, (ROOT.certificate,))
CLIENTS = Material((CLIENT.certificate,), CLIENT.key, (ROOT.certificate,))


def server_context(minimum: float = 1.3) -> SSL.Context:
    return openssl.server_context(
        SERVERS, minimum=minimum, alpn=("http/1.1",), is_client_required=True
    )


def client_context(minimum: float = 1.3) -> SSL.Context:
    return openssl.client_context(CLIENTS, minimum=minimum, alpn=("http/1.1",))


def ends(
    servers: SSL.Context, clients: SSL.Context
) -> tuple[SSL.Connection, SSL.Connection]:
    server = openssl.connection(servers, None, server_side=True, server_name=None)
    client = openssl.connection(
        clients, None, server_side=False, server_name="api.test"
    )
    return client, server


def shake(client: SSL.Connection, server: SSL.Connection) -> int:
    """Carry bytes to and fro until both ends are done; how many the server sent."""
    sent = 0
    for _ in range(4):
        step(client.do_handshake)
        carry(client, server)
        step(server.do_handshake)
        sent += carry(server, client)
    return sent


def step(call: Callable[[], object]) -> None:
    with contextlib.suppress(SSL.WantReadError):
        call()


def carry(here: SSL.Connection, there: SSL.Connection) -> int:
    try:
        return there.bio_write(here.bio_read(1 << 16))
    except SSL.WantReadError:
        return 0


def test_the_key_exchange_is_safe_from_quantum_computers() -> None:
    client, server = ends(server_context(), client_context())
    shake(client, server)

    assert client.get_group_name() == "X25519MLKEM768"
    assert openssl.facts(server).version == "TLSv1.3"


def test_tls_1_2_keeps_forward_secrecy() -> None:
    clients = client_context(1.2)
    clients.set_max_proto_version(SSL.TLS1_2_VERSION)
    client, server = ends(server_context(1.2), clients)
    shake(client, server)

    assert openssl.facts(server).version == "TLSv1.2"
    assert openssl.facts(server).cipher.startswith("ECDHE-ECDSA-")


def test_tls_1_2_is_refused_unless_allowed() -> None:
    clients = client_context(1.2)
    clients.set_max_proto_version(SSL.TLS1_2_VERSION)
    client, server = ends(server_context(), clients)

    with pytest.raises(SSL.Error, match="unsupported protocol"):
        shake(client, server)


@pytest.mark.parametrize("minimum", [1.2, 1.3])
def test_no_session_is_taken_up_again(minimum: float) -> None:
    servers, clients = server_context(minimum), client_context(minimum)
    if minimum == 1.2:
        clients.set_max_proto_version(SSL.TLS1_2_VERSION)
    client, server = ends(servers, clients)
    whole = shake(client, server)
    server.send(b"x")
    carry(server, client)
    assert client.recv(1) == b"x"
    session = client.get_session()
    assert session is not None

    # The first two ends stay: freed without a goodbye, they would end the session.
    again, taker = ends(servers, clients)
    again.set_session(session)

    # Taken up again, it would do without the certificate's 500 bytes.
    assert shake(again, taker) > whole - 100
    assert openssl.facts(taker).peer is not None


def test_renegotiation_is_refused() -> None:
    clients = SSL.Context(SSL.TLS_CLIENT_METHOD)
    clients.set_max_proto_version(SSL.TLS1_2_VERSION)
    servers = openssl.server_context(
        Material((SERVER.certificate,), SERVER.key),
        minimum=1.2,
        alpn=(),
        is_client_required=False,
    )
    client, server = ends(servers, clients)
    shake(client, server)

    client.renegotiate()
    step(client.do_handshake)
    carry(client, server)
    step(lambda: server.recv(1))
    carry(server, client)

    with pytest.raises(SSL.Error, match="no renegotiation"):
        client.do_handshake()
    assert server.total_renegotiations() == 0


def test_the_systems_roots_are_used_where_none_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ROOT.write(tmp_path)))
    clients = openssl.client_context(Material(), minimum=1.3, alpn=())
    servers = openssl.server_context(
        Material((SERVER.certificate,), SERVER.key),
        minimum=1.3,
        alpn=(),
        is_client_required=False,
    )
    client, server = ends(servers, clients)
    shake(client, server)

    peer = openssl.facts(client).peer
    assert peer is not None
    assert peer.identity == API


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SSL.SysCallError(-1, "Unexpected EOF"), "closed without ending its TLS"),
        (SSL.SysCallError(errno.ECONNRESET, "ECONNRESET"), "Connection reset by peer"),
        (SSL.Error([("SSL routines", "", "bad record")]), "bad record"),
        (SSL.Error([]), "the TLS is broken"),
        (SSL.Error(), "the TLS is broken"),
    ],
)
def test_errors_are_said_in_a_line(error: Exception, said: str) -> None:
    assert said in openssl.describe(error)


def failing(
    servers: SSL.Context, clients: SSL.Context
) -> tuple[SSL.Connection, Exception]:
    """The end whose handshake fails first, and its error."""
    client, server = ends(servers, clients)
    for _ in range(4):
        for here, there in ((client, server), (server, client)):
            try:
                step(here.do_handshake)
            except (SSL.Error, openssl.NoProtocol) as error:
                return here, error
            carry(here, there)
    raise AssertionError("nothing failed")


def result(issued: Issued, wanted: Material = SERVERS) -> tuple[str, str]:
    """How a server that has ``wanted`` takes a client with this certificate."""
    servers = openssl.server_context(
        wanted, minimum=1.3, alpn=(), is_client_required=True
    )
    shown = Material((issued.certificate,), issued.key, (ROOT.certificate,))
    clients = openssl.client_context(shown, minimum=1.3, alpn=())
    broken = openssl.broken(*failing(servers, clients))
    return broken.result, str(broken)


def test_the_verifiers_reason_is_the_result() -> None:
    assert result(ROOT.issue(ends=-1)) == (
        "expired",
        "peer's certificate: cert has expired",
    )
    assert result(ROOT.issue(starts=60))[0] == "not_yet_valid"
    assert result(root("other").issue())[0] == "untrusted"
    assert result(ROOT.issue(uris=[WEB, API]))[0] == "bad_name"


@pytest.mark.parametrize("whose", ["server", "client"])
def test_a_certificate_that_cannot_be_read_is_a_bad_one(
    whose: str, tmp_path: Path
) -> None:
    servers, clients = server_context(), client_context()
    context, issued = {
        "server": (servers, SERVER),
        "client": (clients, CLIENT),
    }[whose]
    # Of version 10, which OpenSSL reads all the same.
    version = b"\xa0\x03\x02\x01"
    data = issued.certificate.public_bytes(Encoding.DER)
    file = tmp_path / "odd"
    file.write_bytes(data.replace(version + b"\x02", version + b"\x09", 1))
    context.use_certificate_file(str(file), crypto.FILETYPE_ASN1)

    broken = openssl.broken(*failing(servers, clients))

    assert broken.result == "bad_certificate"
    assert str(broken) == "peer's certificate: 9 is not a valid X509 version"


def test_without_a_certificate_that_is_the_result() -> None:
    clients = openssl.client_context(
        Material(roots=(ROOT.certificate,)), minimum=1.3, alpn=()
    )

    broken = openssl.broken(*failing(server_context(), clients))

    assert broken.result == "no_certificate"


def test_a_certificate_barely_ahead_of_our_clock_is_taken() -> None:
    issued = ROOT.issue(uris=[WEB], starts=openssl.SKEW - 5)
    early = Material((issued.certificate,), issued.key, (ROOT.certificate,))
    clients = openssl.client_context(early, minimum=1.3, alpn=())

    client, server = ends(server_context(), clients)
    shake(client, server)

    assert openssl.facts(server).peer is not None


def test_no_protocol_in_common_is_the_result() -> None:
    clients = openssl.client_context(CLIENTS, minimum=1.3, alpn=("h2",))

    broken = openssl.broken(*failing(server_context(), clients))

    assert broken.result == "no_protocol"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SSL.SysCallError(-1, "Unexpected EOF"), "closed"),
        (SSL.Error([("", "", "tlsv1 alert unknown ca")]), "alert"),
        (SSL.Error([("", "", "wrong version number")]), "protocol"),
    ],
)
def test_any_other_failure_has_a_result_too(error: Exception, expected: str) -> None:
    client, _ = ends(server_context(), client_context())

    assert openssl.broken(client, error).result == expected


def test_a_certificate_that_openssl_refuses_is_named() -> None:
    weak = ROOT.issue(
        common_name="weak", key=rsa.generate_private_key(65537, key_size=1024)
    )
    material = Material((weak.certificate,), weak.key)

    with pytest.raises(ConfigError, match="certificate of CN=weak: ee key too small"):
        openssl.client_context(material, minimum=1.3, alpn=())


def test_intermediates_are_sent_along() -> None:
    issued = ROOT.intermediate().issue(uris=[API])
    chain = (issued.certificate, *issued.intermediates)
    servers = openssl.server_context(
        Material(chain, issued.key), minimum=1.3, alpn=(), is_client_required=False
    )

    client, server = ends(servers, client_context())
    shake(client, server)

    assert openssl.facts(client).peer is not None
