"""What an HTTP/2 origin may do wrongly: nobody hangs, and nothing wrong is passed on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.wire.backend import Backend, Conversation
from tests.wire.case import head, post
from tests.wire.client import Address, Client
from tests.wire.frames import GET, Frames
from tests.wire.mistakes import connections, exchanges
from tests.wire.mistakes.case import Case
from tests.wire.raw import END_HEADERS, data, headers
from tests.wire.running import free_ports, running

pytestmark = [pytest.mark.slow, pytest.mark.wire]

MESH = """\
version: 1
listeners:
  app: {{address: "127.0.0.1:{port}", to: app, request: []}}
services:
  app:
    endpoints: ["{origin}"]
    protocol: http2
    http2: {{ping_interval: 0.2, ping_timeout: 0.2}}
"""
CASES: list[Case] = [*connections.CASES, *exchanges.CASES]
LIBRARIES = ["ngh2", "h2"]
CLIENTS = ["http1", "http2"]
TRIES = 5
"""Connections that one request and the next may cost."""


@attrs.define(eq=False)
class Got:
    """What a client was answered, whatever it speaks."""

    status: int = 0
    body: bytes = b""
    is_whole: bool = False
    has_reason: bool = False

    @property
    def outcome(self) -> str:
        if self.status == 502 and self.is_whole and self.has_reason:
            return "bad"
        if self.status == 200:
            return "good" if self.is_whole else "cut"
        return f"{self}"


@attrs.frozen
class Place:
    address: Address
    backend: Backend
    library: str


@pytest.fixture(scope="module", params=LIBRARIES)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("mistakes")
    (port,) = free_ports(1)
    with Backend() as backend, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TULLE_HTTP2", request.param)
        origin = "{}:{}".format(*backend.address)
        (folder / "mesh.yaml").write_text(MESH.format(port=port, origin=origin))
        arguments = ["-c", str(folder / "mesh.yaml")]
        with running(arguments, [port], folder / "proxy.log") as proxy:
            yield Place(proxy.addresses[0], backend, request.param)


def ask(case: Case, place: Place, speaks: str, conversation: list[Conversation]) -> Got:
    """Send what is not safe to send twice, and take the answer."""

    def is_over() -> bool:
        return bool(conversation) and conversation[0].is_over

    if speaks == "http1":
        with Client(place.address) as client:
            client.send(post(b"Content-Length: 2", body=b"ab"))
            if case.reads_late:
                assert place.backend.wait(is_over)
            answer = client.answer(b"POST")
        if answer is None:
            return Got()
        reason = answer.has(b"tulle-error")
        return Got(answer.status, answer.body, answer.whole, reason)
    fields = ((b":method", b"POST"), *GET[1:])
    with Frames(place.address) as frames:
        frames.send(headers(1, fields, END_HEADERS) + data(1, b"ab"))
        if case.reads_late:
            assert place.backend.wait(is_over)
        told = frames.wait_for(1)
    has_reason = b"tulle-error" in dict(told.fields)
    return Got(told.status or 0, told.data, told.is_ended, has_reason)


@pytest.mark.parametrize("speaks", CLIENTS)
@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
def test_a_mistake_is_a_bad_gateway_and_no_more(
    place: Place, case: Case, speaks: str
) -> None:
    backend = place.backend
    backend.drop()
    backend.mistake = case.mistake

    got = ask(case, place, speaks, backend.conversations)
    backend.mistake = None
    made = backend.conversations[0]
    is_told = case.costs != "connection" or backend.wait(lambda: made.is_over)
    with Client(place.address) as client:
        after = client.ask(head(b"GET /next HTTP/1.1"))

    assert got.outcome in case.wants, (got, made)
    assert len(backend.conversations) <= TRIES
    assert is_told, "the connection was kept"
    assert after is not None
    assert (after.status, after.body) == (200, b"GET /next")
    assert (case.costs == "nothing") <= (not made.is_over)
    assert got.outcome != "good" or got.body in (b"good", b"ab", b"POST /")


def test_there_are_as_many_cases_as_were_promised() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 57
