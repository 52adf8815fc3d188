"""A listener that finds out what its clients speak, over memory and a clock that jumps."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from random import Random

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from meshfilters.counters import Metrics
from meshfilters.errors import BadRequest, ConnectFailed, MeshError, Refused
from meshfilters.exchange import Connection, Endpoint
from meshfilters.memory import MemoryStream, stream_pair
from meshfilters.message import Request, Response
from meshfilters.stream import Stream, Tls
from proxy.chain.pipeline import Blame
from proxy.chain.side_tasks import SideTasks
from proxy.config import model
from proxy.downstream.detect import QUIET, Detect
from proxy.downstream.serve import Http
from proxy.downstream.session import MOMENT
from proxy.downstream.tcp import Tcp
from proxy.transport.deadlines import Deadlines
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream
from proxy.transport.tuning import tune
from proxy.upstream.service import Service
from tests.proxy.downstream.served import GET, Served

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
LIMIT = 10.0
KEEP_ALIVE = 60.0


class Spoken(Http):
    """Stands for HTTP: notes what it is given, and reads it to its end."""

    def __init__(self) -> None:
        self.limits = model.Http(keep_alive=KEEP_ALIVE)
        self.clock = trio.current_time
        self.sessions = set()
        self.is_draining = False
        self.read = b""
        self.protocols: list[str] = []

    async def __call__(
        self, connection: Connection, /, early: bytes = b"", *, is_http2: bool = False
    ) -> None:
        self.protocols.append("http2" if is_http2 else "http1")
        self.read += early
        while data := await connection.stream.receive_some():
            self.read += data


class Place:
    """A listener with a service behind it, and one client."""

    def __init__(self, nursery: trio.Nursery, http: Http | None = None) -> None:
        self.metrics = Metrics()
        self.spoken = Spoken()
        self.http = http or self.spoken
        self.client, self.ours = stream_pair()
        self.far: MemoryStream | None = None
        """The service's end of the last connection to it."""
        self.refuses = False
        self.error: MeshError | None = None
        self.ended = trio.Event()
        side_tasks = SideTasks(nursery, Blame(self.metrics))
        self.service = Service(
            model.Service("db", ("192.0.2.1:5432",)),
            self._dial,
            Deadlines(trio.current_time),
            side_tasks,
            Random(0),
            self._look_up,
        )
        self._nursery = nursery
        self._detect: Detect | None = None

    async def _dial(self, endpoint: Endpoint) -> Stream:
        await trio.lowlevel.checkpoint()
        if self.refuses:
            raise ConnectFailed("refused")
        ours, self.far = stream_pair()
        return ours

    async def _look_up(self, host: str, port: int) -> list[str]:
        raise AssertionError("an address needs no lookup")

    def start(
        self,
        *,
        tls: Tls | None = None,
        stream: Stream | None = None,
        to: str | model.ByHost = "db",
        protocol: model.Protocol = "detect",
    ) -> None:
        """Accept the client."""
        settings = model.Listener("web", ("a:1",), to, protocol=protocol)
        if self._detect is None:
            tcp = (
                Tcp(lambda connection: "db", {"db": self.service}, self.metrics)
                if isinstance(to, str)
                else None
            )
            self._detect = Detect(settings, self.http, tcp, self.metrics)
        server = "192.0.2.7:80"
        connection = Connection(
            stream or self.ours, "192.0.2.9:1", "web", "outbound", server, tls=tls
        )
        self._nursery.start_soon(self._run, self._detect, connection)

    async def _run(self, detect: Detect, connection: Connection) -> None:
        try:
            await detect(connection)
        except MeshError as error:
            self.error = error
        finally:
            await connection.stream.aclose()
            self.ended.set()

    async def send(self, *pieces: bytes) -> None:
        """Send piece by piece, each seen on its own."""
        for each in pieces:
            await self.client.send_all(each)
            await wait_all_tasks_blocked()

    def results(self) -> dict[object, float]:
        """Detections by result."""
        counter = self.metrics.counter("tulle_detect_total", "", ())
        assert all(labels[:2] == ("outbound", "web") for labels in counter.values)
        return {labels[2]: count for labels, count in counter.values.items()}

    async def got(self) -> bytes:
        """What the service has been sent."""
        assert self.far is not None
        await wait_all_tasks_blocked()
        return await self.far.receive_some()


@pytest.fixture
def place(nursery: trio.Nursery) -> Place:
    return Place(nursery)


def each_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


Cut = Callable[[bytes], list[bytes]]
CUTS: list[Cut] = [lambda data: [data], each_byte]


@pytest.mark.parametrize("cut", CUTS, ids=["whole", "in pieces"])
@pytest.mark.parametrize(
    ("data", "protocol"),
    [
        (GET, "http1"),
        (PREFACE, "http2"),
        (b"FOO /a\n\n", "opaque"),
        (b"*1\r\n$4\r\nPING\r\n", "opaque"),
        (HELLO, "tls"),
    ],
    ids=["http1", "http2", "text", "redis", "tls"],
)
async def test_the_first_bytes_tell_and_none_is_lost(
    data: bytes, protocol: str, cut: Cut, place: Place
) -> None:
    place.start()
    await place.send(*cut(data))
    await place.client.send_eof()
    await wait_all_tasks_blocked()

    assert place.results() == {protocol: 1}
    if place.far is None:
        assert (place.spoken.read, place.spoken.protocols) == (data, [protocol])
    else:
        got = b""
        while more := await place.got():
            got += more
        assert (got, place.spoken.protocols) == (data, [])


async def test_a_slow_client_within_the_limit_is_waited_for(
    place: Place, autojump_clock: MockClock
) -> None:
    place.start()
    await place.send(b"G")
    await trio.sleep(LIMIT - 1)
    await place.send(b"ET / HTTP/1.1\r\n\r\n")

    assert place.spoken.protocols == ["http1"]
    assert place.results() == {"http1": 1}


@pytest.mark.parametrize(
    "line", [b"GET /a\r\n", b"FOO /a HTTP/1.1\n\n", b"\n FOO /\xc3\xa9 http/1\n"]
)
async def test_what_is_clearly_a_request_is_refused_and_not_passed_on(
    line: bytes, nursery: trio.Nursery
) -> None:
    async def answer(request: Request, /) -> Response:
        raise AssertionError("no request can come of it")

    place = Place(nursery, Served(nursery, answer).http)
    place.start()
    await place.send(line)

    assert (await place.client.receive_some()).startswith(b"HTTP/1.1 400 ")
    assert place.far is None


async def test_a_server_that_speaks_first_is_heard_at_the_limit(
    place: Place, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO, "tulle.detect")
    place.start()
    await trio.sleep(LIMIT - 1)
    assert place.results() == {}
    await trio.sleep(2)
    assert place.far is not None
    await place.far.send_all(b"220 mail.example.org\r\n")
    assert await place.client.receive_some() == b"220 mail.example.org\r\n"
    await place.send(b"EH", b"LO a\r\n", b"GET / HTTP/1.1\r\n")

    assert await place.got() == b"EHLO a\r\nGET / HTTP/1.1\r\n"
    await trio.sleep(10 * KEEP_ALIVE)
    assert not place.ended.is_set()
    assert place.results() == {"timeout": 1}
    assert "listener=web address=192.0.2.7:80 client=192.0.2.9:1" in caplog.text
    assert "protocol: opaque on the listener" in caplog.text


async def test_a_limit_is_told_now_and_then(
    place: Place, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO, "tulle.detect")
    for pause in (0, QUIET / 2, QUIET):
        await trio.sleep(pause)
        place.start(stream=stream_pair()[0])
    await trio.sleep(LIMIT + 1)

    assert len(caplog.records) == 2


@pytest.mark.parametrize(("data", "protocol"), [(GET, "http1"), (PREFACE, "http2")])
async def test_a_client_that_takes_its_time_is_served_as_any_other(
    data: bytes, protocol: str, place: Place, autojump_clock: MockClock
) -> None:
    place.start()
    await trio.sleep(LIMIT + 5)
    await place.send(data)
    await place.client.send_eof()
    await wait_all_tasks_blocked()

    assert (place.spoken.read, place.spoken.protocols) == (data, [protocol])
    assert place.far is not None
    assert await place.far.receive_some() == b""
    assert place.error is None


async def test_bytes_that_may_be_anything_are_passed_on_at_the_limit(
    place: Place, autojump_clock: MockClock
) -> None:
    place.start()
    await place.send(b"hello")
    await trio.sleep(LIMIT + 1)
    assert await place.got() == b"hello"
    await place.send(b" world\n")

    assert await place.got() == b" world\n"
    assert place.results() == {"timeout": 1}


@pytest.mark.parametrize("begins_late", [False, True])
@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"G", b"ET /a HTTP/1.1\r\n\r\n"),
        (b"PURGE", b" /a HTTP/1.1\r\n\r\n"),
        (b"PURGE", b" /a HTTP/1.1"),
        (PREFACE[:3], PREFACE[3:]),
    ],
)
async def test_waiting_amid_a_request_leads_nobody_around_the_filters(
    first: bytes,
    rest: bytes,
    begins_late: bool,
    place: Place,
    autojump_clock: MockClock,
) -> None:
    place.start()
    await trio.sleep((LIMIT + 1) * begins_late)
    await place.send(first)
    await trio.sleep(LIMIT + 1)
    await place.send(rest)

    assert isinstance(place.error, BadRequest)
    assert await place.got() == first
    assert await place.got() == b""
    assert place.spoken.protocols == []


async def test_a_line_that_only_lacks_its_end_is_a_request_at_the_limit(
    place: Place, autojump_clock: MockClock
) -> None:
    place.start()
    await place.send(b"PURGE /a HTTP/1.1")
    await trio.sleep(LIMIT + 1)

    assert place.spoken.protocols == ["http1"]
    assert place.spoken.read == b"PURGE /a HTTP/1.1"


async def test_where_nobody_ever_speaks_is_nothing_to_keep(
    place: Place, autojump_clock: MockClock
) -> None:
    place.start()
    await trio.sleep(LIMIT + KEEP_ALIVE - 1)
    assert not place.ended.is_set()
    await trio.sleep(2)

    assert place.ended.is_set()
    assert place.error is None


async def test_a_service_that_cannot_be_reached_at_the_limit_is_an_error(
    place: Place, autojump_clock: MockClock
) -> None:
    place.refuses = True
    place.start()
    await trio.sleep(LIMIT + 1)

    assert isinstance(place.error, ConnectFailed)


@pytest.mark.parametrize("first", [b"", b"PI"])
async def test_a_client_that_sends_its_last_byte_is_waited_for_no_longer(
    first: bytes, place: Place
) -> None:
    place.start()
    await place.send(*[first] * bool(first))
    await place.client.send_eof()
    await wait_all_tasks_blocked()

    assert place.results() == {"opaque" if first else "closed": 1}
    if first:
        assert await place.got() == first
        assert await place.got() == b""
    else:
        assert place.ended.is_set()


async def test_a_client_that_breaks_its_connection_harms_nobody(place: Place) -> None:
    place.start()
    await wait_all_tasks_blocked()
    await place.ours.aclose()
    await wait_all_tasks_blocked()

    assert place.ended.is_set()
    assert place.results() == {"closed": 1}


async def test_what_begins_with_no_method_is_passed_on_at_once(place: Place) -> None:
    place.start()
    await place.send(b'{"a": ', b"1}", b"\nGET / HTTP/1.1\n")

    assert await place.got() == b'{"a": 1}\nGET / HTTP/1.1\n'
    assert place.results() == {"opaque": 1}
    place.http.drain()
    await wait_all_tasks_blocked()
    assert not place.ended.is_set()


async def test_what_begins_with_no_method_and_ends_as_a_request_gets_no_further(
    place: Place,
) -> None:
    place.start()
    await place.send(b"G\xe9T", b" /a HTTP/1.1\r\n\r\n")

    assert isinstance(place.error, BadRequest)
    assert await place.got() == b"G\xe9T"
    assert await place.got() == b""


@pytest.mark.parametrize("data", [b"EHLO a\r\n", b"{", HELLO])
async def test_where_the_host_decides_opaque_bytes_are_refused(
    data: bytes, place: Place
) -> None:
    place.start(to=model.ByHost())
    await place.send(data)

    assert isinstance(place.error, Refused)
    assert place.results() == {"refused": 1}


async def test_where_the_host_decides_waiting_is_http(
    place: Place, autojump_clock: MockClock
) -> None:
    place.start(to=model.ByHost())
    await trio.sleep(LIMIT + 1)
    await place.client.send_eof()
    await place.ended.wait()

    assert place.spoken.protocols == ["http1"]
    assert place.results() == {"timeout": 1}


@pytest.mark.parametrize(
    ("alpn", "told", "protocol"),
    [
        ("http/1.1", "detect", "http1"),
        ("h2", "detect", "http2"),
        ("tulle/1", "detect", "http2"),
        ("h2", "http1", "http2"),
        ("http/1.1", "grpc", "http1"),
        ("other", "http2", "http2"),
        (None, "http1", "http1"),
    ],
)
async def test_what_alpn_agreed_on_or_the_file_says_is_not_looked_for(
    alpn: str | None, told: model.Protocol, protocol: str, place: Place
) -> None:
    place.start(tls=Tls("TLSv1.3", "", alpn, None, None), protocol=told)
    await place.client.send_eof()
    await place.ended.wait()

    assert place.spoken.protocols == [protocol]
    assert place.results() == {}


@pytest.mark.parametrize("alpn", [None, "other"])
async def test_inside_tls_that_agreed_on_nothing_bytes_tell(
    alpn: str | None, place: Place
) -> None:
    place.start(tls=Tls("TLSv1.3", "", alpn, None, None))
    await place.send(PREFACE)

    assert place.spoken.protocols == ["http2"]


@pytest.mark.parametrize("protocol", ["http2", "grpc"])
async def test_http2_needs_no_asking_where_the_file_says_so(
    protocol: model.Protocol, place: Place
) -> None:
    place.start(protocol=protocol)
    await wait_all_tasks_blocked()

    assert place.spoken.protocols == ["http2"]


@pytest.mark.parametrize("waits", [0, LIMIT + 1])
async def test_a_drain_ends_who_has_shown_nothing(
    waits: float, place: Place, autojump_clock: MockClock
) -> None:
    place.start()
    await trio.sleep(waits)
    await wait_all_tasks_blocked()
    place.http.drain()
    await trio.sleep(2 * MOMENT)

    assert place.ended.is_set()
    assert place.error is None
    assert place.http.sessions == set()


async def test_a_drain_leaves_a_client_that_comes_late_a_moment(
    place: Place, autojump_clock: MockClock
) -> None:
    place.http.drain()
    place.start()
    await trio.sleep(MOMENT / 2)
    await place.send(GET)
    assert place.spoken.protocols == ["http1"]

    other, ours = stream_pair()
    place.start(stream=ours)
    await trio.sleep(2 * MOMENT)
    assert await other.receive_some() == b""


async def test_a_drain_leaves_opaque_bytes_alone(
    place: Place, autojump_clock: MockClock
) -> None:
    place.start()
    await trio.sleep(LIMIT + 1)
    await place.send(b"hello")
    place.http.drain()
    await trio.sleep(2 * MOMENT)

    assert not place.ended.is_set()
    [undecided] = place.http.sessions
    assert undecided.is_busy


@attrs.define
class Pair:
    """Two sockets, the nearer a stream of the data path."""

    ours: SocketStream
    theirs: socket.socket


@pytest.fixture
async def pair(nursery: trio.Nursery) -> Pair:
    readiness = Readiness()
    nursery.start_soon(readiness.run)
    one, other = socket.socketpair()
    for each in (one, other):
        tune(each)
    return Pair(SocketStream(one, readiness), other)


async def test_what_has_come_to_a_socket_already_is_taken_at_once(
    pair: Pair, place: Place
) -> None:
    pair.theirs.send(GET)
    pair.theirs.close()
    place.start(stream=pair.ours)
    await place.ended.wait()

    assert place.spoken.read == GET


async def test_what_comes_to_a_socket_later_is_waited_for(
    pair: Pair, place: Place
) -> None:
    place.start(stream=pair.ours)
    await wait_all_tasks_blocked()
    pair.theirs.send(GET)
    pair.theirs.close()
    await place.ended.wait()

    assert place.spoken.read == GET


async def test_a_socket_that_is_closed_already_is_an_end(
    pair: Pair, place: Place
) -> None:
    pair.ours.close()
    pair.theirs.close()
    place.start(stream=pair.ours)
    await place.ended.wait()

    assert place.results() == {"closed": 1}
