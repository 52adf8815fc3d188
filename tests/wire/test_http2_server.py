"""HTTP/2 as RFC 9113 and RFC 7541 want it of a server, in front of every kind of origin.

The cases are the 147 of h2spec in its strict mode, and 26 more: of the same mistakes made in
another way, and of lengths that are not kept.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import attrs
import pytest

from tests.wire.backend import Backend
from tests.wire.certificates import issue
from tests.wire.client import Address
from tests.wire.conformance import definitions, generic, messages, streams
from tests.wire.conformance.case import Answered, Broken, Case, Failed, run
from tests.wire.frames import GET, Frames
from tests.wire.origin import Origin
from tests.wire.reader import Message
from tests.wire.running import free_ports, running

pytestmark = [pytest.mark.slow, pytest.mark.wire]

MESH = """\
version: 1
listeners:
  plain: {{address: "127.0.0.1:{plain}", to: http1, request: []}}
  through: {{address: "127.0.0.1:{through}", to: http2, request: []}}
  tls:
    address: "127.0.0.1:{tls}"
    to: http1
    request: []
    connection: [&tls {{tls: {{certificate: api.pem, key: api.key, clients: roots.pem}}}}]
  tls-through:
    {{address: "127.0.0.1:{tls_through}", to: http2, request: [], connection: [*tls]}}
  told: {{address: "127.0.0.1:{told}", to: http1, protocol: http2, request: []}}
services:
  http1: {{endpoints: ["{http1}"], protocol: http1}}
  http2: {{endpoints: ["{http2}"], protocol: http2}}
"""
LEGS = ("plain", "through", "tls", "tls_through")
ALONE = ("told", "tls", "tls_through")
"""Listeners that know HTTP/2 alone, or clients that have agreed on it."""
LIBRARIES = ["ngh2", "h2"]
CASES: list[Case] = [
    *generic.CASES,
    *streams.CASES,
    *definitions.CASES,
    *messages.CASES,
]
OTHER = (*GET[:3], (b":path", b"/good"))


@attrs.frozen
class Place:
    """A proxy's listeners, and what a client over TLS needs."""

    addresses: dict[str, Address]
    context: ssl.SSLContext
    library: str

    def connect(self, leg: str, *, greets: bool = True) -> Frames:
        tls = self.context if leg.startswith("tls") else None
        return Frames(self.addresses[leg], greets=greets, tls=tls)


@pytest.fixture(scope="module", params=LIBRARIES)
def place(
    request: pytest.FixtureRequest,
    origin: Origin,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("conformance")
    context = issue(folder)
    names = (*LEGS, "told")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    with Backend() as backend, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TULLE_HTTP2", request.param)
        origins = {
            name: "{}:{}".format(*each.address)
            for name, each in (("http1", origin), ("http2", backend))
        }
        (folder / "mesh.yaml").write_text(MESH.format(**ports, **origins))
        arguments = ["-c", str(folder / "mesh.yaml")]
        with running(arguments, [*ports.values()], folder / "proxy.log") as proxy:
            addresses = dict(zip(names, proxy.addresses, strict=True))
            yield Place(addresses, context, request.param)


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
def test_a_client_gets_what_the_rfc_says(
    place: Place, origin: Origin, leg: str, case: Case
) -> None:
    origin.take()

    with place.connect(leg, greets=case.greets) as client:
        found = run(case, client)
        seen = client.answers, client.goaway
    with place.connect(leg) as client:
        after = client.ask(1, OTHER)

    assert not found, (found, *seen)
    assert after.status == 200
    assert not reached(case, origin.take())


@pytest.mark.parametrize("leg", ALONE)
def test_what_is_no_preface_is_no_request(
    place: Place, origin: Origin, leg: str
) -> None:
    with place.connect(leg, greets=False) as client:
        assert not run(streams.NO_PREFACE, client)

    assert origin.take() == []


def reached(case: Case, messages: list[Message]) -> list[str]:
    """What reached the origin that should not have, besides the request behind it."""
    found = [problem for message in messages for problem in message.problems]
    mine = [message for message in messages if message.target != b"/good"]
    if isinstance(case.want, Broken | Failed):
        if case.reaches == "nothing":
            found += [f"reached: {message.line!r}" for message in mine]
        elif case.reaches == "start":
            found += [f"whole: {message.line!r}" for message in mine if message.whole]
    return found


def test_there_are_as_many_cases_as_were_promised() -> None:
    assert len({case.name for case in CASES}) == len(CASES) == 147 + 26
    assert any(isinstance(case.want, Answered) for case in CASES)
