"""The one place that sets OpenSSL up, drives its errors and reads its results.

What every context here has in common: TLS 1.3 unless 1.2 is allowed, no compression,
no renegotiation, no early data, no session tickets (a ticket would outlive the identity
it stands for), OpenSSL's own groups, so that X25519MLKEM768 stays the first choice.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable

from cryptography import x509
from OpenSSL import SSL, crypto
from OpenSSL._util import lib

from meshfilters import client_hello
from meshfilters import peer as peers
from meshfilters.certificates import Material
from meshfilters.errors import ConfigError
from meshfilters.stream import HandshakeBroken, Tls

SKEW = 20.0
"""Seconds a certificate may be ahead of our clock (Linkerd's clockSkewAllowance)."""

VERSIONS = {1.2: SSL.TLS1_2_VERSION, 1.3: SSL.TLS1_3_VERSION}

# SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL sets and does not name: without it one
# call writes a whole chunk, not one record.
_PARTIAL_WRITE = 0x1

# pyOpenSSL sets it on every connection, and has no call to clear it: with it one read
# goes on to the next record for as long as they are KeyUpdates, and a peer may send
# those without end.
_AUTO_RETRY = lib.SSL_MODE_AUTO_RETRY

_CODES = SSL.X509VerificationCodes
_RESULTS = {
    _CODES.ERR_CERT_HAS_EXPIRED: "expired",
    _CODES.ERR_CERT_NOT_YET_VALID: "not_yet_valid",
    _CODES.ERR_INVALID_PURPOSE: "wrong_purpose",
    _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "untrusted",
    _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN: "untrusted",
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT: "untrusted",
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "untrusted",
    _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: "untrusted",
    _CODES.ERR_CERT_SIGNATURE_FAILURE: "untrusted",
}
_FAULTS = {
    code: name.removeprefix("ERR_").replace("_", " ").lower()
    for name, code in vars(_CODES).items()
    if name.startswith("ERR_")
}


class NoProtocol(Exception):
    """No protocol in common; raised through OpenSSL so that it sends the alert."""


def server_context(
    material: Material,
    *,
    minimum: float,
    alpn: Iterable[str],
    is_client_required: bool,
) -> SSL.Context:
    """A context for the server's side. Without roots it asks clients for no certificate."""
    context = _context(SSL.TLS_SERVER_METHOD, material, minimum)
    # A session that a client made up is looked up under this name, and not found.
    context.set_session_id(b"tulle")
    offered = [each.encode("ascii") for each in alpn]
    if offered:
        context.set_alpn_select_callback(_chooser(offered))
    if material.roots is not None:
        _trust(context, material, is_peer_required=is_client_required)
        for each in material.roots:
            context.add_client_ca(each)
    return context


def client_context(
    material: Material, *, minimum: float, alpn: Iterable[str]
) -> SSL.Context:
    """A context for the client's side; the system's roots where none are given."""
    context = _context(SSL.TLS_CLIENT_METHOD, material, minimum)
    offered = [each.encode("ascii") for each in alpn]
    if offered:
        context.set_alpn_protos(offered)
    if material.roots is None:
        context.set_default_verify_paths()
    _trust(context, material, is_peer_required=True)
    return context


def connection(
    context: SSL.Context,
    sock: socket.socket | None,
    *,
    server_side: bool,
    server_name: str | None,
) -> SSL.Connection:
    """A connection ready for its handshake; without a socket, over memory buffers.

    On a socket a read returns behind each record, and WantReadError may mean that it
    was none of the application's.
    """
    made = SSL.Connection(context, sock)
    if sock is not None:
        lib.SSL_clear_mode(made._ssl, _AUTO_RETRY)
    if server_side:
        made.set_accept_state()
    else:
        made.set_connect_state()
        if server_name is not None:
            made.set_tlsext_host_name(server_name.encode("ascii"))
    return made


def facts(connection: SSL.Connection) -> Tls:
    """What a finished handshake established."""
    peer = connection.get_peer_certificate(as_cryptography=True)
    alpn = connection.get_alpn_proto_negotiated()
    return Tls(
        version=connection.get_protocol_version_name(),
        cipher=connection.get_cipher_name() or "",
        alpn=alpn.decode("ascii", "replace") or None,
        server_name=client_hello.clean(connection.get_servername()),
        peer=None if peer is None else peers.facts(peer),
    )


def broken(connection: SSL.Connection, error: Exception) -> HandshakeBroken:
    """Why a handshake failed, from what OpenSSL raised and the verifier left behind."""
    left = connection.get_app_data()
    if left is not None:
        return HandshakeBroken(*left)
    if isinstance(error, NoProtocol):
        return HandshakeBroken("no_protocol", str(error))
    detail = describe(error)
    if isinstance(error, SSL.SysCallError):
        return HandshakeBroken("closed", detail)
    if "did not return a certificate" in detail:
        return HandshakeBroken("no_certificate", detail)
    return HandshakeBroken("alert" if " alert " in detail else "protocol", detail)


def describe(error: Exception) -> str:
    """A line for a person of an error of OpenSSL's."""
    if isinstance(error, SSL.SysCallError):
        number = error.args[0]
        if number == -1:
            return "the peer closed without ending its TLS"
        return os.strerror(number)
    reasons = error.args[0] if error.args else None
    return str(reasons[-1][-1]) if reasons else "the TLS is broken"


def _context(method: int, material: Material, minimum: float) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(VERSIONS[minimum])
    context.set_options(
        SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # An idle connection then holds 34 KB less.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.clear_mode(_PARTIAL_WRITE)
    context.set_cipher_list(b"ECDHE+AESGCM:ECDHE+CHACHA20")
    if material.key is not None:
        try:
            context.use_certificate(material.chain[0])
            context.use_privatekey(material.key)
            context.check_privatekey()
        except (SSL.Error, crypto.Error) as error:
            subject = material.chain[0].subject.rfc4514_string()
            raise ConfigError(
                f"OpenSSL refuses the certificate of {subject}: {describe(error)}"
            ) from error
        for each in material.chain[1:]:
            context.add_extra_chain_cert(each)
    return context


def _trust(context: SSL.Context, material: Material, *, is_peer_required: bool) -> None:
    store = context.get_cert_store()
    assert store is not None
    for each in material.roots or ():
        store.add_cert(crypto.X509.from_cryptography(each))
    mode = SSL.VERIFY_PEER
    if is_peer_required:
        mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    context.set_verify(mode, _verify)


def _verify(
    connection: SSL.Connection, found: crypto.X509, error: int, depth: int, ok: int
) -> bool:
    """Called for each certificate of the chain, the root first, and for each fault."""
    try:
        certificate = found.to_cryptography()
    except (ValueError, x509.InvalidVersion) as refusal:
        # OpenSSL is the more lenient of the two, and shows us what nobody vouches for.
        detail = f"peer's certificate: {refusal}"
        connection.set_app_data(("bad_certificate", detail))
        return False
    if error == _CODES.ERR_CERT_NOT_YET_VALID:
        start = certificate.not_valid_before_utc.timestamp()
        if start - time.time() <= SKEW:
            return True
    if not ok:
        detail = f"peer's certificate: {_FAULTS.get(error, error)}"
        connection.set_app_data((_RESULTS.get(error, "bad_certificate"), detail))
        return False
    if depth == 0:
        try:
            peers.facts(certificate)
        except ValueError as refusal:
            connection.set_app_data(("bad_name", f"peer's certificate: {refusal}"))
            return False
    return True


def _chooser(
    ours: list[bytes],
) -> Callable[[SSL.Connection, list[bytes]], bytes]:
    def choose(connection: SSL.Connection, theirs: list[bytes]) -> bytes:
        for each in ours:
            if each in theirs:
                return each
        # RFC 7301, 3.2: no common protocol is a fatal alert, not a connection without.
        raise NoProtocol(f"the client speaks none of {ours}")

    return choose
