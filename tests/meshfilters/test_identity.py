from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from meshfilters.api import chain
from meshfilters.identity import Identity, Mode
from meshfilters.message import EMPTY, Body, Buffered, Headers, Request, Response
from meshfilters.testing import Chunks, Kit, check_filter, read

WEB = "spiffe://example.org/ns/shop/sa/web"
TOLD = [
    (b"l5d-client-id", WEB.encode()),
    (
        b"x-forwarded-client-cert",
        b"Hash=" + b"ab" * 32 + b';Subject="CN=peer";URI=' + WEB.encode(),
    ),
]
HOST = (b"Host", b"service")
TRUSTED = [
    b"l5d-client-id",
    b"l5d-dst-override",
    b"tulle-client-id",
    b"x-forwarded-client-cert",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-real-ip",
    b"forwarded",
]
SPELLINGS: list[Callable[[bytes], bytes]] = [
    lambda name: name,
    bytes.upper,
    bytes.title,
    lambda name: name.replace(b"-", b"_"),
    lambda name: name.replace(b"-", b"_").upper(),
    lambda name: name.replace(b"-", b"_", 1),
    lambda name: name.replace(b"-", b"."),
    lambda name: name.replace(b"-", b"~"),
    lambda name: name[:1].upper() + name[1:],
]


async def passed(
    settings: Identity,
    *headers: tuple[bytes, bytes],
    peer: str | None = None,
    client: str = "192.0.2.1:1234",
    body: Body = EMPTY,
) -> Request:
    """The request behind the filter, when it came with these headers and Host."""
    kit = Kit("identity", direction="inbound")
    requests = []

    async def upstream(request: Request, /) -> Response:
        requests.append(request)
        return Response(200)

    request = kit.ask(headers=[HOST, *headers], peer=peer, client=client, body=body)
    await chain([settings.build(kit.env)], upstream)(request)
    assert request.headers.raw == [HOST, *headers]
    return requests[0]


SILENT = Identity(forwarded_for="remove", forwarded_proto="remove")


@pytest.mark.parametrize("name", TRUSTED)
async def test_no_spelling_of_an_identity_header_gets_through(name: bytes) -> None:
    spoofs = [(spell(name), b"spoof") for spell in SPELLINGS]
    request = await passed(SILENT, *spoofs, *spoofs)

    assert request.headers.raw == [HOST]


async def test_what_the_client_proved_replaces_what_it_said() -> None:
    request = await passed(SILENT, (b"L5d-Client-Id", b"admin"), peer=WEB)

    assert request.headers.raw == [HOST, *TOLD]


async def test_the_proxy_says_by_whom_the_certificate_was_seen() -> None:
    settings = Identity(by="spiffe://example.org/ns/shop/sa/api")
    request = await passed(settings, peer=WEB)

    value = request.headers.get(b"x-forwarded-client-cert")
    assert value is not None
    assert value.startswith(b"By=spiffe://example.org/ns/shop/sa/api;Hash=")


async def test_each_client_is_told_by_its_own_certificate() -> None:
    kit = Kit("identity")
    upstream = kit.script(*(Response(200) for _ in range(3)))
    service = chain([SILENT.build(kit.env)], upstream)
    for peer in (WEB, None, WEB):
        await service(kit.ask(peer=peer))

    named = [each.headers.get(b"l5d-client-id") for each in upstream.requests]
    assert named == [WEB.encode(), None, WEB.encode()]


@pytest.mark.parametrize(
    "nominated",
    [b"l5d-client-id", b"X-Forwarded-Client-Cert , L5D-Client-ID", b"x-forwarded-for"],
)
async def test_the_client_cannot_have_the_headers_dropped_on_the_way(
    nominated: bytes,
) -> None:
    request = await passed(
        SILENT,
        (b"Connection", nominated),
        (b"Connection", b"upgrade, " + nominated),
        (b"connection", b"keep-alive"),
        peer=WEB,
    )

    assert request.headers.getall(b"connection") == [b"upgrade", b"keep-alive"]


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("set", [b"192.0.2.1"]),
        ("append", [b"10.1.1.1, 10.2.2.2, 192.0.2.1"]),
        ("keep", [b"10.1.1.1, 10.2.2.2"]),
        ("remove", []),
    ],
)
async def test_the_clients_address_goes_on_by_the_mode(
    mode: Mode, values: list[bytes]
) -> None:
    request = await passed(
        Identity(forwarded_for=mode),
        (b"X-Forwarded-For", b"10.1.1.1"),
        (b"x-forwarded-for", b"10.2.2.2"),
        (b"X_Forwarded_For", b"6.6.6.6"),
    )

    assert request.headers.getall(b"x-forwarded-for") == values
    assert b"x_forwarded_for" not in request.headers


@pytest.mark.parametrize("mode", ["keep", "remove"])
async def test_an_address_nobody_sent_is_not_made_up(mode: Mode) -> None:
    request = await passed(Identity(forwarded_for=mode))

    assert b"x-forwarded-for" not in request.headers


@pytest.mark.parametrize(
    ("client", "values"), [("[2001:db8::1]:80", [b"2001:db8::1"]), ("unix", [])]
)
async def test_an_address_is_written_without_its_port(
    client: str, values: list[bytes]
) -> None:
    request = await passed(Identity(), client=client)

    assert request.headers.getall(b"x-forwarded-for") == values


@pytest.mark.parametrize(("peer", "scheme"), [(None, b"http"), (WEB, b"https")])
async def test_the_scheme_is_the_one_the_client_used(
    peer: str | None, scheme: bytes
) -> None:
    request = await passed(Identity(), (b"X-Forwarded-Proto", b"gopher"), peer=peer)

    assert request.headers.getall(b"x-forwarded-proto") == [scheme]


async def test_what_is_stripped_can_be_chosen_save_identity_itself() -> None:
    request = await passed(
        Identity(strip=("x-user",), forwarded_for="keep", forwarded_proto="keep"),
        (b"X-User", b"admin"),
        (b"x-real-ip", b"10.1.1.1"),
        (b"l5d-client-id", b"admin"),
        (b"tulle_client_id", b"admin"),
        (b"x-forwarded-client-cert", b"URI=admin"),
    )

    assert request.headers.raw == [HOST, (b"x-real-ip", b"10.1.1.1")]


def test_a_pattern_that_would_strip_the_host_is_refused() -> None:
    with pytest.raises(ValueError, match="ho\\* would strip host"):
        Identity(strip=("ho*",))


@pytest.mark.parametrize(
    "make", [lambda t: Chunks(b"1", b"2", trailers=t), lambda t: Buffered(b"12", t)]
)
async def test_trailers_cannot_say_what_headers_may_not(
    make: Callable[[Headers], Body],
) -> None:
    trailers = Headers([(b"L5D_Client_Id", b"admin"), (b"x-checksum", b"9")])
    request = await passed(SILENT, body=make(trailers))

    assert await read(request.body) == b"12"
    assert request.body.trailers.raw == [(b"x-checksum", b"9")]


async def test_a_body_that_has_no_trailers_is_passed_itself() -> None:
    body = Buffered(b"12")
    request = await passed(SILENT, body=body)

    assert request.body is body


async def test_a_watched_body_keeps_its_length_and_is_closed() -> None:
    body = Chunks(b"1", length=1)
    request = await passed(SILENT, body=body)
    await request.body.aclose()

    assert request.body.length == 1
    assert body.is_closed


async def test_a_header_that_was_stripped_is_counted() -> None:
    kit = Kit("identity")
    service = chain(
        [Identity().build(kit.env)], kit.script(Response(200), Response(200))
    )
    await service(kit.ask(headers=[HOST]))
    await service(kit.ask(headers=[HOST, (b"x-real-ip", b"10.1.1.1")]))

    assert kit.decisions == {"stripped": 1}


async def test_clients_of_one_address_are_told_apart() -> None:
    kit = Kit("identity")
    upstream = kit.script(*(Response(200) for _ in range(3)))
    service = chain([Identity().build(kit.env)], upstream)
    requests = [kit.ask(), kit.ask(peer=WEB), kit.ask(peer=WEB)]
    tls = requests[1].exchange.connection.tls
    assert tls is not None
    requests[1].exchange.connection.tls = attrs.evolve(tls, peer=None)
    for request in requests:
        await service(request)

    names = (b"x-forwarded-proto", b"l5d-client-id")
    told = [[each.headers.get(name) for name in names] for each in upstream.requests]
    assert told == [[b"http", None], [b"https", None], [b"https", WEB.encode()]]


async def test_it_does_what_every_filter_must_do() -> None:
    await check_filter(Identity().build)
