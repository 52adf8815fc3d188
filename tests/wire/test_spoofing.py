"""No spelling of an identity header gets from a client to the application."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.wire.case import chunked, get
from tests.wire.client import Address, Client
from tests.wire.judge import show
from tests.wire.origin import Origin
from tests.wire.reader import Message
from tests.wire.running import serving

pytestmark = pytest.mark.wire

NAMES = [
    b"l5d-client-id",
    b"l5d-dst-canonical",
    b"l5d-orig-proto",
    b"tulle-client-id",
    b"forwarded",
    b"x-forwarded-client-cert",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-real-ip",
]
SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "upper case": bytes.upper,
    "title case": bytes.title,
    "underscores": lambda name: name.replace(b"-", b"_"),
    "one underscore": lambda name: name.replace(b"-", b"_", 1),
    "dots": lambda name: name.replace(b"-", b"."),
    "upper underscores": lambda name: name.replace(b"-", b"_").upper(),
}
LIE = b"spoofed"

FILE = """\
version: 1
listeners:
  identified:
    address: "127.0.0.1:{port}"
    direction: inbound
    to: app
    request: [identity]
services:
  app: {{endpoints: ["{origin}"]}}
"""


@pytest.fixture(scope="module")
def identified(
    origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    with serving(FILE, origin, tmp_path_factory.mktemp("identified")) as address:
        yield address


def seen(address: Address, data: bytes, origin: Origin) -> Message:
    with Client(address) as client:
        answer = client.ask(data)
    assert answer is not None
    assert answer.status == 200, show(answer)
    (message,) = origin.take()
    return message


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_identity_header_of_a_client_is_stripped(
    spelling: str, identified: Address, origin: Origin
) -> None:
    names = [SPELLINGS[spelling](name) for name in NAMES]

    message = seen(identified, get(*(name + b": " + LIE for name in names)), origin)

    assert LIE not in message.raw


def test_twice_the_same_header_is_stripped_twice(
    identified: Address, origin: Origin
) -> None:
    fields = [name + b": " + LIE for name in NAMES] * 2

    message = seen(identified, get(*fields), origin)

    assert LIE not in message.raw


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_identity_header_among_the_trailers_is_stripped(
    spelling: str, identified: Address, origin: Origin
) -> None:
    names = [SPELLINGS[spelling](name) for name in NAMES]
    trailers = b"".join(name + b": " + LIE + b"\r\n" for name in names)

    message = seen(
        identified, chunked(b"2\r\nab\r\n0\r\nX-T: y\r\n" + trailers + b"\r\n"), origin
    )

    assert LIE not in message.raw
    assert message.trailers == [(b"X-T", b"y")]


@pytest.mark.parametrize("name", NAMES, ids=bytes.decode)
def test_naming_it_in_connection_does_not_remove_what_the_proxy_says(
    name: bytes, identified: Address, origin: Origin
) -> None:
    plain = seen(identified, get(), origin)

    message = seen(identified, get(b"Connection: " + name, name + b": " + LIE), origin)

    assert LIE not in message.raw
    assert message.has(name) == plain.has(name)
