from __future__ import annotations

import attrs
import pytest

from meshfilters.exchange import Connection
from meshfilters.testing import Kit
from meshfilters.told import FOR, PROTO, REMEMBERED, Told, forwarded

WEB = "spiffe://example.org/ns/shop/sa/web"


def connection_of(client: str = "192.0.2.1:80", peer: str | None = None) -> Connection:
    return Kit().ask(client=client, peer=peer).exchange.connection


def proving(number: int) -> Connection:
    """A client's connection with a certificate of that number."""
    connection = connection_of(peer=WEB)
    assert connection.tls is not None
    assert connection.tls.peer is not None
    peer = attrs.evolve(connection.tls.peer, sha256=f"{number:064x}")
    return attrs.evolve(connection, tls=attrs.evolve(connection.tls, peer=peer))


def test_of_a_client_that_proved_nothing_no_identity_is_told() -> None:
    assert Told(None, [FOR, PROTO]).about(connection_of()) == [
        (FOR, b"192.0.2.1"),
        (PROTO, b"http"),
    ]


def test_a_proven_client_is_told_as_linkerd_and_as_envoy_do() -> None:
    assert Told("spiffe://example.org/me", []).about(proving(1)) == [
        (b"l5d-client-id", WEB.encode()),
        (
            b"x-forwarded-client-cert",
            f'By=spiffe://example.org/me;Hash={1:064x};Subject="CN=peer"'
            f";URI={WEB}".encode(),
        ),
    ]


def test_connections_of_one_address_are_told_apart() -> None:
    told = Told(None, [PROTO])
    plain, proven = connection_of(), connection_of(peer=WEB)
    assert proven.tls is not None
    silent = attrs.evolve(proven, tls=attrs.evolve(proven.tls, peer=None))

    assert told.about(plain) == [(PROTO, b"http")]
    assert told.about(silent) == [(PROTO, b"https")]
    assert told.about(proven)[0] == (b"l5d-client-id", WEB.encode())
    assert told.about(proving(1)) != told.about(proving(2))
    assert told.about(plain) == [(PROTO, b"http")]


def test_only_so_many_clients_are_remembered() -> None:
    told = Told(None, [])
    for number in range(REMEMBERED + 500):
        told.about(proving(number))

    assert len(told._known) <= REMEMBERED


@pytest.mark.parametrize(
    ("client", "value"),
    [
        ("192.0.2.1:80", [b"192.0.2.1"]),
        ("[2001:db8::1]:80", [b"2001:db8::1"]),
        ("unix", []),
    ],
)
def test_an_address_is_told_without_its_port(client: str, value: list[bytes]) -> None:
    assert forwarded(FOR, connection_of(client)) == value
