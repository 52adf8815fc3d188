"""Where one request ends and the next begins, when somebody wants it to be unclear."""

from __future__ import annotations

from threading import Thread

import pytest

from tests.wire.case import chunked, get, head, hosted, post
from tests.wire.client import Address, Client
from tests.wire.judge import BARRIER, show
from tests.wire.origin import Origin, Script
from tests.wire.reader import Message
from tests.wire.running import Running

SMUGGLED = head(b"GET /smuggled HTTP/1.1")
EARLY = b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"
PIPELINE = 8000


def seen(origin: Origin, address: Address) -> list[Message]:
    """What came to the origin, when what was under way has arrived."""
    with Client(address) as client:
        client.ask(BARRIER)
    return [each for each in origin.take() if each.target != b"/barrier"]


def targets(origin: Origin, address: Address) -> list[bytes]:
    return [each.target for each in seen(origin, address)]


def test_nothing_behind_a_refused_request_is_answered(
    address: Address, origin: Origin
) -> None:
    with Client(address) as client:
        answer = client.ask(get(b"X A: b") + SMUGGLED)
        end = client.answer()

    assert answer is not None
    assert answer.status == 400
    assert end is None
    assert targets(origin, address) == []


def test_bytes_behind_a_length_of_zero_are_no_body(
    address: Address, origin: Origin
) -> None:
    with Client(address) as client:
        first = client.ask(post(b"Content-Length: 0", body=b"ab\r\n" + SMUGGLED))
        second = client.answer()
        end = client.answer()

    assert first is not None
    assert second is not None
    assert (first.status, second.status, end) == (200, 400, None)
    assert targets(origin, address) == [b"/"]


def test_a_get_without_length_has_no_body(address: Address, origin: Origin) -> None:
    with Client(address) as client:
        client.send(get(b"Content-Type: text/plain") + SMUGGLED)
        first, second = client.answer(), client.answer()

    assert first is not None
    assert second is not None
    assert (first.body, second.body) == (b"GET /", b"GET /smuggled")


@pytest.mark.parametrize("owed", [len(SMUGGLED), 10 * len(SMUGGLED), 10**9])
def test_an_early_answer_does_not_turn_the_body_into_requests(
    owed: int, address: Address, origin: Origin
) -> None:
    origin.script = Script(EARLY, early=True)
    with Client(address) as client:
        answer = client.ask(head(b"POST /owing HTTP/1.1", b"Content-Length: %d" % owed))
        client.send(SMUGGLED)
        client.end()
        end = client.answer()

    assert answer is not None
    assert (answer.status, answer.body) == (403, b"no"), show(answer)
    assert end is None
    assert b"/smuggled" not in targets(origin, address)


def test_an_early_answer_costs_the_origin_its_connection(
    address: Address, origin: Origin
) -> None:
    origin.script = Script(EARLY, early=True)
    with Client(address) as client:
        client.ask(post(b"Content-Length: 1000", body=b"ab"))
    owing = origin.take()
    with Client(address) as client:
        answer = client.ask(get())

    assert answer is not None
    assert answer.body == b"GET /"
    assert owing[0].connection != origin.take()[0].connection


def test_a_client_that_asks_for_100_may_send_at_once(
    address: Address, origin: Origin
) -> None:
    with Client(address) as client:
        answer = client.ask(
            post(b"Expect: 100-continue", b"Content-Length: 2", body=b"ab")
        )
        behind = client.ask(get())

    assert answer is not None
    assert behind is not None
    assert (answer.body, behind.body) == (b"POST /", b"GET /")
    assert [each.status for each in answer.informational] in ([], [100])
    assert origin.take()[0].body == b"ab"


def test_a_client_that_asks_for_100_and_goes_leaves_no_request(
    address: Address, origin: Origin
) -> None:
    with Client(address) as client:
        client.send(post(b"Expect: 100-continue", b"Content-Length: 2"))

    assert not [each for each in seen(origin, address) if each.whole]


@pytest.mark.parametrize(
    "expectation",
    [b"y 100-continue", b"100-continue, x", b"\x0c100-continue", b"100-continue;q=1"],
)
def test_an_obfuscated_expectation_fails(
    expectation: bytes, address: Address, origin: Origin
) -> None:
    with Client(address) as client:
        answer = client.ask(
            post(b"Expect: " + expectation, b"Content-Length: 2", body=b"ab")
        )

    assert answer is not None
    assert answer.status == (400 if b"\x0c" in expectation else 417), show(answer)
    assert targets(origin, address) == []


def test_a_body_cut_short_is_cut_short_towards_the_origin(
    address: Address, origin: Origin
) -> None:
    for data in (
        post(b"Content-Length: 10", body=b"ab"),
        chunked(b"2\r\nab\r\n"),
        chunked(b"2\r\nab\r\n0\r\n"),
    ):
        with Client(address) as client:
            client.send(data)
            client.end()
            answer = client.answer()

        assert answer is None or answer.status >= 400
        assert not [each for each in seen(origin, address) if each.whole]


@pytest.mark.parametrize(
    "hosts", [[b""], [b"a.test", b"a.test"], [b"a.test:99999999"], [b"[::1"]]
)
def test_more_bad_hosts(hosts: list[bytes], address: Address, origin: Origin) -> None:
    with Client(address) as client:
        answer = client.ask(hosted(*hosts))

    assert answer is not None
    assert answer.status == 400, show(answer)
    assert targets(origin, address) == []


@pytest.mark.slow
def test_a_client_that_pipelines_without_reading_is_held_back(
    address: Address, origin: Origin, proxy: Running
) -> None:
    origin.hold.clear()
    before = proxy.resident()
    requests = b"".join(
        head(b"GET /%d HTTP/1.1" % number) for number in range(PIPELINE)
    )
    with Client(address) as client:
        sender = Thread(target=client.send, args=(requests,), daemon=True)
        sender.start()
        under_way = origin.wait_for_requests(2, 0.5)
        grown = proxy.resident() - before
        origin.hold.set()
        answers: list[Message | None] = [client.answer() for _ in range(PIPELINE)]
        sender.join()

    assert under_way == 1
    assert grown < 2 * 1024 * 1024
    assert [each and each.body for each in answers] == [
        b"GET /%d" % number for number in range(PIPELINE)
    ]
