"""Where one request ends and the next begins, when somebody wants it to be unclear."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest

from tests.wire.case import chunked, get, head, post
from tests.wire.client import Address, Client
from tests.wire.judge import BARRIER, show
from tests.wire.origin import PATIENCE, Origin, Script
from tests.wire.reader import Message
from tests.wire.running import Running, serving

pytestmark = pytest.mark.wire

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
        was_told = client.is_answered(PATIENCE)

    assert was_told
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


UPGRADE = get(b"Connection: Upgrade", b"Upgrade: echo")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
)


def test_nothing_follows_an_upgrade_before_it_is_granted(
    address: Address, origin: Origin
) -> None:
    origin.hold.clear()
    origin.script = Script(SWITCH)
    with Client(address) as client:
        client.send(UPGRADE + SMUGGLED)
        under_way = origin.wait_for_requests(2, 0.2)
        origin.hold.set()
        granted, echoed = client.answer(), client.answer()

    assert under_way == 1
    assert granted is not None
    assert granted.status == 101, show(granted)
    assert granted.getall(b"upgrade") == [b"echo"]
    assert echoed is not None
    assert echoed.body == b"GET /smuggled"
    first, second = origin.take()
    assert first.connection == second.connection


def test_what_follows_an_upgrade_that_is_not_granted_is_no_request(
    address: Address, origin: Origin
) -> None:
    with Client(address) as client:
        client.send(UPGRADE + SMUGGLED)
        refused, end = client.answer(), client.answer()

    assert refused is not None
    assert refused.body == b"GET /"
    assert end is None
    assert targets(origin, address) == [b"/"]


def test_a_connect_is_refused_with_what_follows_it(
    address: Address, origin: Origin
) -> None:
    with Client(address) as client:
        answer = client.ask(
            b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n" + SMUGGLED
        )
        end = client.answer()

    assert answer is not None
    assert answer.status == 405, show(answer)
    assert end is None
    assert targets(origin, address) == []


TUNNELLING = """\
version: 1
listeners:
  tunnelling: {{address: "127.0.0.1:{port}", to: app, http: {{connect: true}}}}
services:
  app: {{endpoints: ["{origin}"]}}
"""


@pytest.fixture(scope="module")
def tunnelling(
    origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    """A proxy that forwards CONNECT."""
    with serving(TUNNELLING, origin, tmp_path_factory.mktemp("connect")) as address:
        yield address


def test_a_connect_is_tunnelled_where_it_is_on(
    tunnelling: Address, origin: Origin
) -> None:
    origin.script = Script(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    with Client(tunnelling) as client:
        client.send(
            b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n" + SMUGGLED
        )
        granted, echoed = client.answer(b"CONNECT"), client.answer()

    assert granted is not None
    assert granted.status == 200, show(granted)
    assert granted.getall(b"content-length") == []
    assert echoed is not None
    assert echoed.body == b"GET /smuggled"
    first, second = origin.take()
    assert (first.method, first.target) == (b"CONNECT", b"a.test:443")
    assert first.connection == second.connection


@pytest.mark.parametrize("target", [b"a.test", b"/", b"http://a.test/", b"a.test:"])
def test_a_connect_to_nowhere_is_400(
    tunnelling: Address, origin: Origin, target: bytes
) -> None:
    with Client(tunnelling) as client:
        answer = client.ask(head(b"CONNECT %b HTTP/1.1" % target) + SMUGGLED)
        end = client.answer()

    assert answer is not None
    assert answer.status == 400, show(answer)
    assert end is None
    assert targets(origin, tunnelling) == []


def test_a_client_that_goes_takes_its_request_along(
    address: Address, origin: Origin
) -> None:
    origin.script = Script(b"")
    with Client(address) as client:
        client.send(get())
        origin.wait_for_requests(1)
    (asked,) = origin.take()

    assert origin.is_gone(asked.connection)


def test_a_client_that_goes_in_mid_answer_takes_it_along(
    address: Address, origin: Origin
) -> None:
    origin.script = Script(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab")
    with Client(address) as client:
        client.send(get())
        client.is_answered(PATIENCE)
    (asked,) = origin.take()

    assert origin.is_gone(asked.connection)


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
