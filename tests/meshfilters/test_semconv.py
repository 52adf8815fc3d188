from __future__ import annotations

import pytest

from meshfilters.errors import ClientGone, DeadlineExceeded, MeshError, UpstreamReset
from meshfilters.exchange import Outcome
from meshfilters.semconv import (
    client_attributes,
    client_error,
    server_attributes,
    server_error,
    span_name,
)
from meshfilters.testing import Kit

GRPC = [(b"Host", b"cart.shop"), (b"Content-Type", b"application/grpc")]
WEB, API = "spiffe://example.org/ns/shop/sa/web", "spiffe://example.org/ns/shop/sa/api"


@pytest.fixture
def kit() -> Kit:
    return Kit("trace", direction="inbound")


def failure_of(
    kit: Kit,
    outcome: Outcome,
    status: int | None = None,
    error: MeshError | None = None,
    ended: float | None = None,
) -> str | None:
    """What a client's span says of an only attempt that came to this."""
    request = kit.ask()
    attempt = kit.attempt(request)
    attempt.status, attempt.error, attempt.ended = status, error, ended
    return client_error(request, attempt, outcome)


@pytest.mark.parametrize(
    ("method", "name"), [(b"GET", "GET"), (b"BREW", "HTTP"), (b"get", "HTTP")]
)
def test_a_span_is_named_by_a_known_method(method: bytes, name: str, kit: Kit) -> None:
    assert span_name(server_attributes(kit.ask(method), Outcome(200))) == name


@pytest.mark.parametrize(
    ("target", "name"),
    [(b"/shop.Cart/Add", "shop.Cart/Add"), (b"/anything/at/all", "grpc")],
)
def test_a_call_is_named_by_its_method(target: bytes, name: str, kit: Kit) -> None:
    request = kit.ask(b"POST", target, headers=GRPC)

    found = server_attributes(request, Outcome(200, grpc_status=0))

    assert span_name(found) == name


def test_a_server_span_has_the_conventions_attributes(kit: Kit) -> None:
    headers = [(b"Host", b"api.shop:8080"), (b"User-Agent", b"curl/8")]
    request = kit.ask(target=b"/cart?id=7", headers=headers, peer=WEB)
    request.exchange.timings = {"retry": 0.5}

    assert server_attributes(request, Outcome(200, attempts=3)) == {
        "http.request.method": "GET",
        "network.protocol.version": "1.1",
        "url.scheme": "https",
        "url.path": "/cart",
        "url.query": "id=7",
        "user_agent.original": "curl/8",
        "server.address": "api.shop",
        "server.port": 8080,
        "client.address": "192.0.2.1",
        "network.peer.address": "192.0.2.1",
        "network.peer.port": 1234,
        "http.response.status_code": 200,
        "mesh.direction": "inbound",
        "mesh.client.identity": WEB,
        "mesh.tls": "TLSv1.3",
        "mesh.retries": 2,
        "mesh.filter.retry.seconds": 0.5,
    }


def test_a_server_span_leaves_out_what_there_is_not(kit: Kit) -> None:
    request = kit.ask(headers=[], client="unix")

    assert server_attributes(request, Outcome(None)) == {
        "http.request.method": "GET",
        "network.protocol.version": "1.1",
        "network.transport": "unix",
        "url.scheme": "http",
        "url.path": "/",
        "server.address": "service",
        "server.port": 80,
        "mesh.direction": "inbound",
    }


def test_a_server_span_says_which_filter_decided(kit: Kit) -> None:
    error = DeadlineExceeded()
    error.by = "timeout"
    found = server_attributes(kit.ask(), Outcome(504, error))

    assert found["mesh.filter.decider"] == "timeout"


def test_a_client_span_has_the_conventions_attributes(kit: Kit) -> None:
    request = kit.ask(target=b"/cart?id=7", headers=[(b"Host", b"[::1]:8080")])
    kit.attempt(request)
    attempt = kit.attempt(request, "[2001:db8::1]:4143")
    attempt.status, attempt.identity = 503, API

    assert client_attributes(request, attempt, Outcome(503)) == {
        "http.request.method": "GET",
        "network.protocol.version": "1.1",
        "url.full": "https://[::1]:8080/cart?id=7",
        "server.address": "::1",
        "server.port": 8080,
        "network.peer.address": "2001:db8::1",
        "network.peer.port": 4143,
        "http.response.status_code": 503,
        "http.request.resend_count": 1,
        "mesh.backend": "service",
        "mesh.server.identity": API,
    }


@pytest.mark.parametrize(
    ("method", "target", "url"),
    [
        (b"CONNECT", b"db.shop:5432", "db.shop:5432"),
        (b"OPTIONS", b"*", "http://service"),
    ],
)
def test_a_target_that_is_no_path_is_written_as_it_is_meant(
    method: bytes, target: bytes, url: str, kit: Kit
) -> None:
    request = kit.ask(method, target)

    found = client_attributes(request, kit.attempt(request), Outcome(200))

    assert found["url.full"] == url


def test_an_attempt_on_a_socket_file_names_the_file(kit: Kit) -> None:
    request = kit.ask(headers=[])
    attempt = kit.attempt(request, "unix:/run/app.sock")
    found = client_attributes(request, attempt, Outcome(200))

    assert found["network.transport"] == "unix"
    assert found["network.peer.address"] == "/run/app.sock"
    assert found["url.full"] == "http://service/"


def test_secrets_of_signed_urls_are_not_recorded(kit: Kit) -> None:
    request = kit.ask(target=b"/x?sig=abc&a=1&X-Amz-Signature=def&design=2")
    clean = "sig=REDACTED&a=1&X-Amz-Signature=REDACTED&design=2"

    assert server_attributes(request, Outcome(200))["url.query"] == clean
    found = client_attributes(request, kit.attempt(request), Outcome(200))
    assert found["url.full"] == f"http://service/x?{clean}"


def test_text_of_the_clients_is_cut_and_escaped(kit: Kit) -> None:
    hostile = b"a\r\n\x1b\xe2\x80\xa8\xff" + b"x" * 10_000
    names = (b"host", b"user-agent")
    request = kit.ask(
        hostile,
        b"/" + hostile + b"?" + hostile,
        headers=[(name, hostile) for name in names],
        peer=hostile.decode("latin-1"),
    )
    attempt = kit.attempt(request)
    attempt.identity = hostile.decode("latin-1")

    found = (
        server_attributes(request, Outcome(200)),
        client_attributes(request, attempt, Outcome(200)),
    )
    for value in (each for attributes in found for each in attributes.values()):
        assert str(value).isprintable()
        assert len(str(value)) < 5000
    assert found[0]["http.request.method"] == "_OTHER"
    assert found[0]["http.request.method_original"] == (
        r"a\r\n\x1b\u2028\xff" + "x" * 24 + "..."
    )


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        (b"api.shop", "api.shop", 80),
        (b"api.shop:99", "api.shop", 99),
        (b"[::1]", "::1", 80),
        (b"api:x", "api:x", 80),
        (b"api:1234567", "api:1234567", 80),
    ],
)
def test_the_host_is_split_into_address_and_port(
    host: bytes, address: str, port: int, kit: Kit
) -> None:
    found = server_attributes(kit.ask(headers=[(b"Host", host)]), Outcome(200))

    assert (found["server.address"], found["server.port"]) == (address, port)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Outcome(200), None),
        (Outcome(404), None),
        (Outcome(500), "500"),
        (Outcome(504, DeadlineExceeded()), "timeout"),
        (Outcome(200, UpstreamReset()), "upstream reset"),
        (Outcome(None, ClientGone()), None),
        (Outcome(200, grpc_status=14), "UNAVAILABLE"),
        (Outcome(200, grpc_status=5), None),
        (Outcome(None), "_OTHER"),
    ],
)
def test_a_server_span_fails_when_the_server_did(
    outcome: Outcome, kind: str | None, kit: Kit
) -> None:
    assert server_error(kit.ask(), outcome) == kind


def test_a_client_span_fails_from_400_on(kit: Kit) -> None:
    outcome = Outcome(200)

    assert failure_of(kit, outcome, 399) is None
    assert failure_of(kit, outcome, 400) == "400"
    assert failure_of(kit, outcome, 503) == "503"
    assert failure_of(kit, outcome, None, UpstreamReset()) == "upstream reset"


def test_an_attempt_cut_off_fails_for_the_exchanges_reason(kit: Kit) -> None:
    outcome = Outcome(504, DeadlineExceeded())

    assert failure_of(kit, outcome) == "timeout"
    assert failure_of(kit, outcome, 200, ended=1.0) is None
    assert failure_of(kit, Outcome(None, ClientGone())) is None


def test_spans_of_a_call_say_how_it_ended(kit: Kit) -> None:
    request = kit.ask(b"POST", b"/shop.Cart/Add", headers=GRPC)
    dropped, answered = kit.attempt(request), kit.attempt(request)
    dropped.status = answered.status = dropped.ended = 200
    dropped.grpc_status = 14
    outcome = Outcome(200, grpc_status=5, attempts=2)

    server = server_attributes(request, outcome)
    first = client_attributes(request, dropped, outcome)
    second = client_attributes(request, answered, outcome)

    assert server["rpc.system.name"] == "grpc"
    assert server["rpc.response.status_code"] == "NOT_FOUND"
    assert first["rpc.response.status_code"] == "UNAVAILABLE"
    assert second["rpc.response.status_code"] == "NOT_FOUND"
    assert {each["rpc.method"] for each in (server, first, second)} == {"shop.Cart/Add"}


@pytest.mark.parametrize(
    ("outcome", "server", "client"),
    [
        (Outcome(200, grpc_status=0), None, None),
        (Outcome(200, grpc_status=5), None, "NOT_FOUND"),
        (Outcome(200, grpc_status=7), None, "PERMISSION_DENIED"),
        (Outcome(200, grpc_status=12), "UNIMPLEMENTED", "UNIMPLEMENTED"),
        (Outcome(200), "UNKNOWN", "UNKNOWN"),
        (Outcome(503), "UNAVAILABLE", "UNAVAILABLE"),
        (Outcome(200, DeadlineExceeded(), grpc_status=4), "timeout", "timeout"),
        (Outcome(None, ClientGone()), None, None),
    ],
)
def test_calls_fail_by_their_status(
    outcome: Outcome, server: str | None, client: str | None, kit: Kit
) -> None:
    request = kit.ask(b"POST", b"/shop.Cart/Add", headers=GRPC)
    attempt = kit.attempt(request)
    attempt.status = outcome.status

    assert server_error(request, outcome) == server
    assert client_error(request, attempt, outcome) == client
