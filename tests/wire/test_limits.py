"""What a client may send and how long it may take: at the limit, and one over it."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.wire.case import chunked, get, head, post
from tests.wire.client import Address, Client
from tests.wire.judge import show
from tests.wire.origin import Origin
from tests.wire.reader import Message
from tests.wire.running import Running, free_ports, running

pytestmark = pytest.mark.wire

MAX_HEAD = 60 * 1024
MAX_TARGET = 16 * 1024
MAX_BODY = 1000
PATIENCE = 0.5
"""Seconds of the tight listener's timeouts."""
SLACK = 0.4
"""Seconds a busy machine may be late."""

FILE = """\
version: 1
listeners:
  tight:
    address: 127.0.0.1:{tight}
    protocol: http1
    to: app
    request: []
    http: {{max_body: {MAX_BODY}, head_timeout: {PATIENCE}, keep_alive: {PATIENCE}}}
  idle:
    address: 127.0.0.1:{idle}
    to: app
    request: [{{timeout: {{idle: {PATIENCE}}}}}]
services:
  app: {{endpoints: ["{origin}"]}}
"""


@pytest.fixture(scope="module")
def limited(
    origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("limits")
    ports = free_ports(2)
    host, port = origin.address
    (folder / "mesh.yaml").write_text(
        FILE.format(
            tight=ports[0],
            idle=ports[1],
            origin=f"{host}:{port}",
            MAX_BODY=MAX_BODY,
            PATIENCE=PATIENCE,
        )
    )
    arguments = ["-c", str(folder / "mesh.yaml")]
    with running(arguments, ports, folder / "proxy.log") as proxy:
        yield proxy


@pytest.fixture
def tight(limited: Running) -> Address:
    return limited.addresses[0]


@pytest.fixture
def idle(limited: Running) -> Address:
    return limited.addresses[1]


def fields(count: int) -> bytes:
    """A GET with ``count`` fields, Host among them."""
    return get(*(b"X-%d: y" % number for number in range(count - 1)))


def head_of(size: int) -> bytes:
    """A GET whose head has ``size`` bytes, its empty line included."""
    return get(b"X-A: " + b"a" * (size - len(get(b"X-A: "))))


def targeting(size: int) -> bytes:
    return head(b"GET /" + b"a" * (size - 1) + b" HTTP/1.1")


def sized(size: int) -> bytes:
    return post(b"Content-Length: %d" % size, body=b"a" * size)


def in_chunks(size: int) -> bytes:
    piece = b"64\r\n" + b"a" * 100 + b"\r\n"
    rest = size % 100
    last = b"%x\r\n" % rest + b"a" * rest + b"\r\n" if rest else b""
    return chunked(piece * (size // 100) + last + b"0\r\n\r\n")


def ask(address: Address, data: bytes) -> Message:
    with Client(address) as client:
        answer = client.ask(data)
    assert answer is not None
    return answer


def assert_refused(answer: Message, status: int, origin: Origin) -> None:
    assert answer.status == status, show(answer)
    assert answer.has(b"tulle-error"), show(answer)
    assert answer.getall(b"connection") == [b"close"], show(answer)
    assert not [message for message in origin.take() if message.whole]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(fields(100), id="100 fields"),
        pytest.param(head_of(MAX_HEAD), id="head"),
        pytest.param(targeting(MAX_TARGET), id="target"),
        pytest.param(sized(MAX_BODY), id="body by length"),
        pytest.param(in_chunks(MAX_BODY), id="body in chunks"),
    ],
)
def test_what_is_at_the_limit_passes(
    data: bytes, tight: Address, origin: Origin
) -> None:
    answer = ask(tight, data)

    assert answer.status == 200, show(answer)
    (message,) = origin.take()
    assert len(message.body) in (0, MAX_BODY)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(fields(101), 431, id="101 fields"),
        pytest.param(head_of(MAX_HEAD + 1), 431, id="head"),
        pytest.param(head_of(MAX_HEAD + 100_000), 431, id="head far over"),
        pytest.param(targeting(MAX_TARGET + 1), 414, id="target"),
        pytest.param(targeting(MAX_HEAD + 1), 414, id="target longer than a head"),
        pytest.param(sized(MAX_BODY + 1), 413, id="body by length"),
        pytest.param(sized(MAX_BODY * 1000), 413, id="body by length far over"),
        pytest.param(in_chunks(MAX_BODY + 1), 413, id="body in chunks"),
        pytest.param(in_chunks(MAX_BODY * 1000), 413, id="body in chunks far over"),
    ],
)
def test_what_is_over_the_limit_is_refused(
    data: bytes, status: int, tight: Address, origin: Origin
) -> None:
    answer = ask(tight, data)

    assert_refused(answer, status, origin)


@pytest.mark.parametrize(
    ("trailers", "status"),
    [
        pytest.param([b"X-%d: y" % each for each in range(101)], 431, id="101"),
        pytest.param([b"X-A: " + b"a" * 65536], 431, id="64 KiB"),
    ],
)
def test_too_many_trailers_are_refused(
    trailers: list[bytes], status: int, address: Address, origin: Origin
) -> None:
    ending = b"\r\n".join([b"0", *trailers, b"", b""])

    answer = ask(address, chunked(b"2\r\nab\r\n" + ending))

    assert_refused(answer, status, origin)


def test_few_trailers_pass(address: Address, origin: Origin) -> None:
    answer = ask(address, chunked(b"2\r\nab\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n"))

    assert answer.status == 200, show(answer)
    (message,) = origin.take()
    assert message.body == b"ab"
    assert message.trailers == [(b"X-A", b"b"), (b"X-C", b"d")]


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(b"0" * 2000 + b"2", id="zeros before the digits"),
        pytest.param(b"2;" + b"a=b;" * 1000, id="4 KB of extensions"),
    ],
)
def test_a_long_chunk_line_is_refused(
    size: bytes, address: Address, origin: Origin
) -> None:
    answer = ask(address, chunked(size + b"\r\nab\r\n0\r\n\r\n"))

    assert_refused(answer, 400, origin)


def test_a_head_that_does_not_end_is_answered_when_it_is_too_long(
    address: Address, origin: Origin
) -> None:
    endless = get(b"X-A: " + b"a" * MAX_HEAD)[: MAX_HEAD + 16]

    answer = ask(address, endless)

    assert_refused(answer, 431, origin)


def dribble(client: Client, data: bytes, seconds: float) -> float:
    """Send ``data`` a byte at a time until somebody answers; say how long it took."""
    start = time.monotonic()
    step = seconds / len(data)
    for byte in data:
        client.send(bytes([byte]))
        if client.is_answered(step):
            break
    return time.monotonic() - start


@pytest.mark.slow
def test_a_slow_head_is_cut_at_an_absolute_deadline(
    tight: Address, origin: Origin
) -> None:
    with Client(tight) as client:
        took = dribble(client, get(b"X-A: b"), 3 * PATIENCE)
        answer = client.answer()
        end = client.answer()

    assert answer is not None
    assert end is None
    assert PATIENCE <= took < PATIENCE + SLACK
    assert_refused(answer, 408, origin)


@pytest.mark.slow
def test_a_connection_that_sends_nothing_is_closed_without_a_word(
    tight: Address,
) -> None:
    with Client(tight) as client:
        start = time.monotonic()
        answer = client.answer()
        took = time.monotonic() - start

    assert answer is None
    assert took < 2 * PATIENCE + SLACK


@pytest.mark.slow
def test_a_connection_that_was_used_is_closed_after_its_keep_alive(
    tight: Address,
) -> None:
    with Client(tight) as client:
        client.ask(get())
        start = time.monotonic()
        answer = client.answer()
        took = time.monotonic() - start

    assert answer is None
    assert PATIENCE - 0.1 <= took < PATIENCE + SLACK


@pytest.mark.slow
@pytest.mark.parametrize("prefix", [b"", b"a" * 5], ids=["no byte", "half of it"])
def test_a_body_that_does_not_come_is_a_timeout_and_no_request_follows(
    prefix: bytes, idle: Address, origin: Origin
) -> None:
    with Client(idle) as client:
        client.send(post(b"Content-Length: 10", body=prefix))
        answer = client.answer()
        client.send(b"a" * 10 + get())
        behind = client.answer()

    assert answer is not None
    assert behind is None
    assert_refused(answer, 408, origin)


SCARCE = """\
version: 1
listeners:
  scarce: {{address: "127.0.0.1:{port}", to: app, request: []}}
services:
  app: {{endpoints: ["{origin}"], pool_idle: 60}}
"""


def test_unused_connections_make_room_for_clients(
    origin: Origin, tmp_path: Path
) -> None:
    ports = free_ports(1)
    host, behind = origin.address
    file = tmp_path / "mesh.yaml"
    file.write_text(SCARCE.format(port=ports[0], origin=f"{host}:{behind}"))
    log = tmp_path / "proxy.log"
    with running(["-c", str(file)], ports, log) as proxy, ExitStack() as held:
        (address,) = proxy.addresses
        clients = [held.enter_context(Client(address)) for _ in range(8)]
        origin.hold.clear()
        for each in clients:
            each.send(get())
        origin.wait_for_requests(len(clients))
        origin.hold.set()
        before = [each.answer() for each in clients]
        for worker in proxy.workers:
            opened = {int(each.name) for each in Path(f"/proc/{worker}/fd").iterdir()}
            limit = min(set(range(len(opened) + 1)) - opened)
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (limit, limit))
        with Client(address) as client:
            answer = client.ask(get())
    origin.take()

    assert None not in before
    assert answer is not None
    assert answer.status == 200, show(answer)
    assert "cannot accept" not in log.read_text()
