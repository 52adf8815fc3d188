from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from OpenSSL import SSL
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.counters import Metrics
from meshfilters.errors import MeshError, Refused
from meshfilters.exchange import Connection
from meshfilters.memory import stream_pair
from proxy.config.model import Listener
from proxy.downstream.passthrough import Passthrough
from proxy.downstream.tcp import Tcp

LIMIT = 10.0


def hello() -> bytes:
    """What OpenSSL sends first."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    connection.set_connect_state()
    connection.set_tlsext_host_name(b"api.test")
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(16 * 1024)


class Taken(Tcp):
    """Stands for opaque TCP: notes what it is to take on."""

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self.read = b""

    async def __call__(self, connection: Connection, /, early: bytes = b"") -> None:
        self.names.append(connection.server_name)
        while data := await connection.stream.receive_some():
            self.read += data


class Place:
    """A listener for TLS, and one client."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.metrics = Metrics()
        self.client, self.ours = stream_pair()
        self.taken = Taken()
        self.error: MeshError | None = None
        self.ended = trio.Event()
        settings = Listener("edge", ("a:1",), "app", "inbound", "tls")
        service = Passthrough(settings, self.taken, self.metrics)
        connection = Connection(self.ours, "192.0.2.9:1", "edge", "inbound")
        nursery.start_soon(self._run, service, connection)

    async def _run(
        self, service: Callable[[Connection], Awaitable[None]], connection: Connection
    ) -> None:
        try:
            await service(connection)
        except MeshError as error:
            self.error = error
        self.ended.set()

    def results(self) -> dict[tuple[str | int, ...], float]:
        return self.metrics.counter("tulle_detect_total", "", ()).values


def result(word: str) -> dict[tuple[str, ...], int]:
    return {("inbound", "edge", word): 1}


async def test_the_name_is_read_and_the_bytes_are_passed_on(
    nursery: trio.Nursery,
) -> None:
    place, data = Place(nursery), hello()
    for at in range(len(data)):
        await place.client.send_all(data[at : at + 1])
        await trio.lowlevel.checkpoint()
    await place.client.send_eof()
    await place.ended.wait()

    assert (place.taken.names, place.taken.read) == (["api.test"], data)
    assert place.results() == result("tls")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x00\x00"])
async def test_what_is_no_tls_is_refused(data: bytes, nursery: trio.Nursery) -> None:
    place = Place(nursery)
    await place.client.send_all(data)
    await place.ended.wait()

    assert isinstance(place.error, Refused)
    assert place.results() == result("refused")
    assert place.taken.names == []


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01"])
async def test_a_client_that_is_not_done_in_time_is_refused(
    data: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    place = Place(nursery)
    await place.client.send_all(data)
    await trio.sleep(LIMIT - 1)
    assert place.results() == {}
    await trio.sleep(2)

    assert isinstance(place.error, Refused)
    assert place.results() == result("timeout")


@pytest.mark.parametrize("is_clean", [True, False])
async def test_a_client_that_leaves_without_a_word_is_no_error(
    is_clean: bool, nursery: trio.Nursery
) -> None:
    place = Place(nursery)
    await wait_all_tasks_blocked()
    await (place.client.send_eof() if is_clean else place.ours.aclose())
    await place.ended.wait()

    assert place.error is None
    assert place.results() == result("closed")
