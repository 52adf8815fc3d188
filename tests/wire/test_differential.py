"""Whatever is forwarded, other parsers read it as the proxy meant it."""

from __future__ import annotations

from random import Random

import attrs
import h11
import httptools
import pytest

from tests.wire.case import head
from tests.wire.client import Address, Client
from tests.wire.generator import answer, request, spoiled
from tests.wire.origin import Origin, Script
from tests.wire.reader import Message
from tests.wire.reply import ASK

pytestmark = pytest.mark.wire

SEEDS = range(10)
REQUESTS = 50
"""For each seed."""
LAST = head(b"GET /last HTTP/1.1", b"Connection: close")
FILLER = LAST * 100
"""More than a spoiled length can swallow, so that the connection comes to its end."""
SILENCE = 1.5
"""Seconds after which a connection that waits for more of a body is given up."""


@attrs.frozen
class Parsed:
    """A request as a parser understood it."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes


@attrs.define(eq=False)
class Heard:
    """httptools' callbacks."""

    target: bytes = b""
    fields: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    body: bytes = b""
    begun: int = 0
    complete: int = 0
    is_head_over: bool = False

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_head_over:  # trailers come this way too
            self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.is_head_over = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


def by_httptools(raw: bytes) -> Parsed:
    # llhttp has a list of methods; one it does not know must not end the comparison.
    method, rest = raw[: raw.index(b" ")], raw[raw.index(b" ") :]
    heard = Heard()
    httptools.HttpRequestParser(heard).feed_data(b"POST" + rest)
    assert (heard.begun, heard.complete) == (1, 1)
    return Parsed(method, heard.target, heard.fields, heard.body)


def by_h11(raw: bytes) -> Parsed:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    asked = connection.next_event()
    assert isinstance(asked, h11.Request)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert connection.trailing_data == (b"", False)
    return Parsed(asked.method, asked.target, list(asked.headers), body)


def by_reader(message: Message) -> Parsed:
    assert message.problems == []
    fields = [(name.lower(), value) for name, value in message.fields]
    return Parsed(message.method, message.target, fields, message.body)


def answer_by_h11(raw: bytes) -> tuple[int, bytes] | None:
    """Status and body of an answer that ends with its connection; None if it is none."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(
        h11.Request(method="POST", target="/", headers=[("Host", "a.test")])
    )
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    connection.receive_data(b"")
    body = b""
    try:
        while not isinstance(head := connection.next_event(), h11.Response):
            if not isinstance(head, h11.InformationalResponse):
                return None
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError:
        return None
    return (head.status_code, body) if isinstance(event, h11.EndOfMessage) else None


def converse(address: Address, data: bytes) -> list[Message]:
    answers = []
    with Client(address, SILENCE) as client:
        client.send(data + FILLER)
        try:
            while answer := client.answer():
                answers.append(answer)
        except TimeoutError:
            pass
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_forwarded_means_one_thing(
    seed: int, told: Address, origin: Origin
) -> None:
    # What is no request may pass a listener that detects as opaque bytes.
    random = Random(seed)
    for number in range(REQUESTS):
        data = spoiled(request(random), random)

        answers = converse(told, data)
        seen = origin.take()

        story = f"seed {seed}, request {number}: {data!r}\n{seen}\n{answers}"
        passed = [answer for answer in answers if answer.status == 200]
        whole = [message for message in seen if message.whole]
        assert [each.body for each in passed] == [
            message.method + b" " + message.target for message in whole
        ], story
        for each in answers:
            assert not each.problems, story
        for message in whole:
            assert by_reader(message) == by_h11(message.raw), story
            assert by_reader(message) == by_httptools(message.raw), story


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_an_answer_is_delivered_as_it_was_meant_or_not_at_all(
    seed: int, bare: Address, origin: Origin
) -> None:
    random = Random(seed)
    for number in range(REQUESTS):
        data = spoiled(answer(random), random)
        origin.script = Script(data, "end")

        with Client(bare) as client:
            got = client.ask(ASK)
            end = client.answer() if got is not None and not got.whole else None

        story = f"seed {seed}, answer {number}: {data!r}\n{got}"
        assert got is not None, story
        assert end is None, story
        assert not got.problems, story
        assert [each.body for each in origin.take()] == [b"ab"], story
        if got.whole and not got.has(b"tulle-error"):
            assert (got.status, got.body) == answer_by_h11(data), story


def test_the_generator_makes_good_requests_and_bad_ones(
    told: Address, origin: Origin
) -> None:
    random = Random(0)

    answers = [
        converse(told, spoiled(request(random), random)) for _ in range(REQUESTS)
    ]
    statuses = [each[0].status for each in answers if each]

    assert 0.2 < statuses.count(200) / REQUESTS < 0.8
    assert 400 in statuses
