"""Whatever is forwarded, other parsers read it as the proxy meant it."""

from __future__ import annotations

from random import Random

import attrs
import h11
import httptools
import pytest

from tests.wire.case import head
from tests.wire.client import Address, Client
from tests.wire.generator import spoiled
from tests.wire.origin import Origin
from tests.wire.reader import Message

pytestmark = pytest.mark.wire

SEEDS = range(10)
REQUESTS = 50
"""For each seed."""
LAST = head(b"GET /last HTTP/1.1", b"Connection: close")
FILLER = LAST * 100
"""More than a spoiled length can swallow, so that the connection comes to its end."""
SILENCE = 0.5
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
    seed: int, address: Address, origin: Origin
) -> None:
    random = Random(seed)
    for number in range(REQUESTS):
        data = spoiled(random)

        answers = converse(address, data)
        seen = origin.take()

        story = f"seed {seed}, request {number}: {data!r}\n{seen}\n{answers}"
        passed = [answer for answer in answers if answer.status == 200]
        whole = [message for message in seen if message.whole]
        assert [each.body for each in passed] == [
            message.method + b" " + message.target for message in whole
        ], story
        for answer in answers:
            assert not answer.problems, story
        for message in whole:
            assert by_reader(message) == by_h11(message.raw), story
            assert by_reader(message) == by_httptools(message.raw), story


def test_the_generator_makes_good_requests_and_bad_ones(
    address: Address, origin: Origin
) -> None:
    random = Random(0)

    answers = [converse(address, spoiled(random)) for _ in range(REQUESTS)]
    statuses = [each[0].status for each in answers if each]

    assert 0.2 < statuses.count(200) / REQUESTS < 0.8
    assert 400 in statuses
