"""One worker over loopback sockets: how it runs, changes, and ends."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest
import trio

from meshfilters.api import ConnectionFilter, DialFilter, Service
from meshfilters.counters import Metrics
from meshfilters.env import Env
from meshfilters.errors import ConfigError, Refused
from meshfilters.exchange import Connection, Endpoint
from meshfilters.stream import Stream
from proxy.config import parse
from proxy.config.model import Config, Placed
from proxy.worker.worker import Worker
from tests.proxy.worker.making import Noting, Unbuildable

GET = b"GET / HTTP/1.1\r\nHost: app\r\n\r\n"
ORIGINS = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\norigin"

FILE = """
version: 1
listeners:
  web:
    address: 127.0.0.1:4143
    direction: inbound
    to: app
    request: [{{headers: {{response: {{set: {{x-chain: "{chain}"}}}}}}}}]
  {more}
services:
  app: {{endpoints: ["{origin}"]{service}}}
"""
MORE = "more: {address: 127.0.0.1:4144, to: app}"
OPAQUE = FILE.replace("request:", "protocol: opaque #")


@attrs.frozen
class Raising:
    """A connection filter that lets nobody in."""

    error: Exception = attrs.field(eq=False)

    def build(self, env: Env) -> ConnectionFilter:
        async def refuse(
            connection: Connection, inner: Service[Connection, None], /
        ) -> None:
            raise self.error

        return refuse


@attrs.frozen
class Holding:
    """A dial filter that dials when the test says so, and notes being closed."""

    dialling: trio.Event = attrs.field(eq=False)
    go: trio.Event = attrs.field(eq=False)
    closed: list[str] = attrs.field(eq=False)

    def build(self, env: Env) -> DialFilter:
        env.on_close(lambda: self.closed.append(env.listener))

        async def hold(
            endpoint: Endpoint, inner: Service[Endpoint, Stream], /
        ) -> Stream:
            self.dialling.set()
            await self.go.wait()
            return await inner(endpoint)

        return hold


class Client:
    """A connection that asks and reads whole answers."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._read = b""

    async def ask(self, data: bytes = GET) -> bytes:
        await self.stream.send_all(data)
        return await self.answer()

    async def answer(self) -> bytes:
        """The next answer, its length in its head; b"" at the end."""
        while b"\r\n\r\n" not in self._read:
            if not await self._more():
                return b""
        head, _, rest = self._read.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", b"0"))
        while len(rest) < length:
            assert await self._more()
            rest = self._read.partition(b"\r\n\r\n")[2]
        self._read = rest[length:]
        return head + b"\r\n\r\n" + rest[:length]

    async def _more(self) -> bool:
        data = await self.stream.receive_some()
        self._read += data
        return bool(data)


class Mesh:
    """A worker, an origin behind it, and sockets for its listeners."""

    def __init__(self, nursery: trio.Nursery, held: ExitStack) -> None:
        self.nursery = nursery
        self.metrics = Metrics()
        self.hold: trio.Event | None = None
        """When set, the origin answers behind it."""
        self.asked = 0
        self._held = held
        self.behind = self._open()
        self._addresses: dict[str, tuple[str, int]] = {}
        self.worker = Worker(
            self.config(), metrics=self.metrics, export=lambda _: None, workers=1
        )
        self.ended = trio.Event()

    def _open(self) -> socket.socket:
        return self._held.enter_context(socket.create_server(("127.0.0.1", 0)))

    @property
    def origin(self) -> str:
        host, port = self.behind.getsockname()
        return f"{host}:{port}"

    def config(
        self, chain: str = "one", more: str = "", service: str = "", file: str = FILE
    ) -> Config:
        text = file.format(chain=chain, more=more, origin=self.origin, service=service)
        return parse(text, Path("mesh.yaml"))

    def open(self, *names: str) -> dict[str, list[socket.socket]]:
        """New sockets for listeners."""
        opened = {name: [self._open()] for name in names}
        for name, (sock,) in opened.items():
            self._addresses[name] = sock.getsockname()
        return opened

    async def start(self, config: Config | None = None) -> None:
        if config is not None:
            self.worker.config = config
        origin = trio.SocketListener(trio.socket.from_stdlib_socket(self.behind.dup()))
        self.nursery.start_soon(trio.serve_listeners, self._answer, [origin])
        await self.nursery.start(self._run)

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self.worker.run(
            self.open(*self.worker.config.listeners), task_status=task_status
        )
        self.ended.set()

    async def _answer(self, stream: trio.SocketStream) -> None:
        received = b""
        async with stream:
            while data := await stream.receive_some():
                received += data
                while b"\r\n\r\n" in received:
                    received = received.partition(b"\r\n\r\n")[2]
                    self.asked += 1
                    if self.hold is not None:
                        await self.hold.wait()
                    await stream.send_all(ORIGINS)

    async def connect(self, name: str = "web") -> Client:
        stream = await trio.open_tcp_stream(*self._addresses[name])
        self._held.callback(stream.socket.close)
        return Client(stream)

    def queue(self, name: str = "web") -> Client:
        """A connection that nobody has had the time to accept."""
        sock = self._held.enter_context(socket.create_connection(self._addresses[name]))
        sock.setblocking(False)
        return Client(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))

    async def until_accepted(self, count: int) -> None:
        """Until as many connections are under way."""
        while True:
            listeners = self.worker.statistics()["listeners"]
            assert isinstance(listeners, dict)
            if sum(each["active"] for (each,) in listeners.values()) == count:
                return
            await trio.lowlevel.checkpoint()

    async def until_asked(self, times: int) -> None:
        """Until the origin holds as many requests."""
        while self.asked < times:
            await trio.lowlevel.checkpoint()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.downstream.session.MOMENT", 0.01)


@pytest.fixture
async def held() -> AsyncIterator[ExitStack]:
    with ExitStack() as held:
        yield held


@pytest.fixture
async def mesh(nursery: trio.Nursery, held: ExitStack) -> Mesh:
    return Mesh(nursery, held)


def detections(mesh: Mesh) -> dict[object, float]:
    """Connections by what was found of them."""
    counter = mesh.metrics.counter("tulle_detect_total", "", ())
    return {labels[2]: count for labels, count in counter.values.items()}


async def filled(noted: list[str]) -> list[str]:
    """What was noted, once something was."""
    while not noted:
        await trio.lowlevel.checkpoint()
    return noted


def placing(
    config: Config,
    *,
    connection: tuple[Placed, ...] = (),
    request: tuple[Placed, ...] = (),
) -> Config:
    """The configuration with other filters in the listener's chains."""
    web = attrs.evolve(config.listeners["web"], connection=connection, request=request)
    return attrs.evolve(config, listeners={**config.listeners, "web": web})


async def test_a_request_passes_its_chain_to_its_service(mesh: Mesh) -> None:
    await mesh.start()
    client = await mesh.connect()

    answer = await client.ask()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nx-chain: one\r\n" in answer
    assert answer.endswith(b"origin")


async def test_values_change_under_a_client_without_a_failed_request(
    mesh: Mesh,
) -> None:
    await mesh.start()
    client = await mesh.connect()
    seen: list[bytes] = []
    changed = trio.Event()

    async def loop() -> None:
        while seen.count(b"last") < 3:
            answer = await client.ask()
            assert answer.startswith(b"HTTP/1.1 200 ")
            seen.append(answer.partition(b"x-chain: ")[2].partition(b"\r\n")[0])
            if len(seen) == 3:
                changed.set()

    async with trio.open_nursery() as asking:
        asking.start_soon(loop)
        await changed.wait()
        for chain in ("two", "three", "last"):
            service = ", connect_timeout: 2" if chain == "three" else ""
            mesh.worker.apply(mesh.config(chain, service=service), {})
            await trio.lowlevel.checkpoint()

    assert seen[:3] == [b"one"] * 3
    assert seen[-3:] == [b"last"] * 3


async def test_a_request_under_way_ends_on_the_chain_it_began_on(mesh: Mesh) -> None:
    await mesh.start()
    client = await mesh.connect()
    mesh.hold = trio.Event()

    async with trio.open_nursery() as asking:
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await client.ask())

        asking.start_soon(ask)
        await mesh.until_asked(1)
        mesh.worker.apply(mesh.config("two"), {})
        mesh.hold.set()

    assert b"\r\nx-chain: one\r\n" in answers[0]
    assert b"\r\nx-chain: two\r\n" in await client.ask()


async def test_a_failed_change_keeps_everything(mesh: Mesh) -> None:
    await mesh.start()
    client = await mesh.connect()
    before = mesh.worker.chains()
    bad = placing(mesh.config("two"), request=(Placed("bad", Unbuildable()),))

    with pytest.raises(ConfigError, match="no such key"):
        mesh.worker.apply(bad, {})

    assert mesh.worker.chains() == before
    assert b"\r\nx-chain: one\r\n" in await client.ask()


async def test_a_filter_that_is_listed_no_more_is_closed(mesh: Mesh) -> None:
    closed: list[str] = []
    noting = placing(mesh.config(), request=(Placed("note", Noting(closed)),))
    await mesh.start(noting)
    client = await mesh.connect()
    await client.ask()

    mesh.worker.apply(noting, {})
    assert closed == []
    mesh.worker.apply(mesh.config(), {})

    assert closed == ["web"]
    assert b"\r\nx-chain: one\r\n" in await client.ask()


async def test_a_dial_filter_that_is_listed_no_more_outlives_its_last_dial(
    mesh: Mesh,
) -> None:
    dialling, go, closed = trio.Event(), trio.Event(), list[str]()
    config = mesh.config()
    dial = (Placed("hold", Holding(dialling, go, closed)),)
    app = attrs.evolve(config.services["app"], dial=dial)
    await mesh.start(attrs.evolve(config, services={"app": app}))
    client = await mesh.connect()
    await client.stream.send_all(GET)
    await dialling.wait()

    mesh.worker.apply(mesh.config(), {})
    assert closed == []

    go.set()
    assert (await client.answer()).endswith(b"origin")
    assert closed == ["app"]


async def test_a_listener_is_added_and_removed(mesh: Mesh) -> None:
    await mesh.start()
    mesh.worker.apply(mesh.config(more=MORE), mesh.open("more"))
    client = await mesh.connect("more")
    assert (await client.ask()).endswith(b"origin")

    mesh.worker.apply(mesh.config(), {})

    assert await client.answer() == b""
    with pytest.raises(OSError, match=r"refused|all attempts to connect"):
        await mesh.connect("more")
    assert set(mesh.worker.chains()) == {"web"}


async def test_a_removed_listeners_filters_outlive_its_last_request(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The start of the request may be read only after the listener has gone.
    monkeypatch.setattr("proxy.downstream.session.MOMENT", 10.0)
    closed: list[str] = []
    await mesh.start(
        placing(mesh.config(more=MORE), request=(Placed("note", Noting(closed)),))
    )
    client = await mesh.connect()
    await client.stream.send_all(GET[:10])
    mesh.hold = trio.Event()
    more = await mesh.connect("more")
    await more.stream.send_all(GET)
    await mesh.until_asked(1)

    other = mesh.config(more=MORE)
    only = {"more": other.listeners["more"]}
    mesh.worker.apply(attrs.evolve(other, listeners=only), {})
    assert closed == []

    mesh.hold.set()
    answer = await client.ask(GET[10:])
    assert b"\r\nConnection: close\r\n" in answer
    assert await client.answer() == b""
    assert await filled(closed) == ["web"]


async def test_a_client_in_a_removed_listeners_queue_passes_its_last_chain(
    mesh: Mesh,
) -> None:
    closed: list[str] = []
    await mesh.start(mesh.config(more=MORE))
    one, two = mesh.config(more=MORE), mesh.config("two", more=MORE)
    noting = (*two.listeners["web"].request, Placed("note", Noting(closed)))
    mesh.worker.apply(placing(two, request=noting), {})

    client = mesh.queue()
    only = {"more": one.listeners["more"]}
    mesh.worker.apply(attrs.evolve(one, listeners=only), {})

    assert closed == []
    await client.stream.send_all(GET)
    answer = await client.answer()
    assert b"\r\nx-chain: two\r\n" in answer
    assert await client.answer() == b""
    assert await filled(closed) == ["web"]


async def test_a_listener_changes_its_protocol(mesh: Mesh) -> None:
    await mesh.start()
    before = await mesh.connect()
    await before.ask()

    mesh.worker.apply(mesh.config(file=OPAQUE), {})

    assert await before.answer() == b""
    opaque = await mesh.connect()
    assert await opaque.ask() == ORIGINS
    mesh.worker.apply(mesh.config(), {})
    again = await mesh.connect()
    assert b"\r\nx-chain: one\r\n" in await again.ask()
    await opaque.stream.send_eof()
    assert await opaque.answer() == b""


async def test_new_sockets_take_over_from_a_listeners_old_ones(mesh: Mesh) -> None:
    await mesh.start()
    before = await mesh.connect()
    await before.ask()

    for _ in range(3):
        mesh.worker.apply(mesh.config(), mesh.open("web"))

    assert (await (await mesh.connect()).ask()).endswith(b"origin")
    assert (await before.ask()).endswith(b"origin")
    listeners = mesh.worker.statistics()["listeners"]
    assert isinstance(listeners, dict)
    assert len(listeners["web"]) == 1


async def test_the_cap_of_a_standing_listener_changes(mesh: Mesh) -> None:
    await mesh.start()
    config = mesh.config()
    web = attrs.evolve(config.listeners["web"], max_connections=7)

    mesh.worker.apply(attrs.evolve(config, listeners={"web": web}), {})

    listeners = mesh.worker.statistics()["listeners"]
    assert isinstance(listeners, dict)
    assert listeners["web"][0]["cap"] == 7


async def test_what_is_refused_is_counted_by_the_direction_of_now(mesh: Mesh) -> None:
    await mesh.start()
    config = mesh.config()
    web = attrs.evolve(config.listeners["web"], direction="outbound")
    mesh.worker.apply(attrs.evolve(config, listeners={"web": web}), {})

    answer = await (await mesh.connect()).ask(b"GET / HTTP/9.9\r\n\r\n")

    status = int(answer[9:12])
    counter = mesh.metrics.counter("tulle_http_refused_total", "", ())
    assert counter.values == {("outbound", status): 1}


async def test_requests_go_where_their_host_says(mesh: Mesh) -> None:
    file = FILE.replace("to: app", "to: {{by: host}}")
    await mesh.start(mesh.config(file=file))
    client = await mesh.connect()

    assert (await client.ask()).endswith(b"origin")
    unknown = await client.ask(GET.replace(b"app", b"else"))
    assert unknown.startswith(b"HTTP/1.1 404 ")


async def test_bytes_that_are_no_request_pass_the_filters_by(mesh: Mesh) -> None:
    await mesh.start()
    client = await mesh.connect()

    assert await client.ask(b"*1\r\n$4\r\nPING\r\n\r\n") == ORIGINS
    assert b"\r\nx-chain: one\r\n" in await (await mesh.connect()).ask()
    assert detections(mesh) == {"opaque": 1, "http1": 1}


async def test_where_the_file_says_http1_there_is_nothing_else(mesh: Mesh) -> None:
    file = FILE.replace("to: app", "to: app\n    protocol: http1")
    await mesh.start(mesh.config(file=file))

    answer = await (await mesh.connect()).ask(b"*1\r\n$4\r\nPING\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert mesh.asked == 0
    assert detections(mesh) == {}


async def test_opaque_bytes_name_no_host(mesh: Mesh) -> None:
    file = FILE.replace("to: app", "to: {{by: host}}")
    await mesh.start(mesh.config(file=file))

    assert await (await mesh.connect()).ask(b"*1\r\n$4\r\nPING\r\n") == b""
    assert detections(mesh) == {"refused": 1}
    closed = mesh.metrics.counter("tcp_close_total", "", ()).values
    assert closed == {("inbound", "src", "refused"): 1}


async def test_a_listener_for_tls_takes_nothing_else(mesh: Mesh) -> None:
    await mesh.start(mesh.config(file=OPAQUE.replace("opaque", "tls")))

    with pytest.raises(trio.BrokenResourceError):
        await (await mesh.connect()).ask()

    assert detections(mesh) == {"refused": 1}
    assert mesh.asked == 0


async def test_a_client_that_has_not_spoken_holds_no_drain_up(mesh: Mesh) -> None:
    await mesh.start()
    client = await mesh.connect()
    await mesh.until_accepted(1)

    mesh.worker.drain(60)

    await mesh.ended.wait()
    assert await client.answer() == b""


async def test_a_listener_goes_over_to_another_protocol(mesh: Mesh) -> None:
    await mesh.start()
    asked, silent = await mesh.connect(), await mesh.connect()
    assert b"\r\nx-chain: one\r\n" in await asked.ask()
    await mesh.until_accepted(2)

    mesh.worker.apply(mesh.config(file=OPAQUE), {})

    assert await asked.answer() == await silent.answer() == b""
    assert await (await mesh.connect()).ask() == ORIGINS


async def test_a_worker_that_drains_endsbehind_its_last_request(mesh: Mesh) -> None:
    await mesh.start()
    client = await mesh.connect()
    mesh.hold = trio.Event()
    await client.stream.send_all(GET)
    await mesh.until_asked(1)

    mesh.worker.drain(60)
    mesh.hold.set()
    answer = await client.answer()

    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"origin")
    await mesh.ended.wait()


async def test_an_opaque_connection_ends_by_itself_in_a_drain(mesh: Mesh) -> None:
    await mesh.start(mesh.config(file=OPAQUE))
    client = await mesh.connect()
    assert await client.ask() == ORIGINS

    mesh.worker.drain(60)
    assert await client.ask() == ORIGINS
    await client.stream.send_eof()

    assert await client.answer() == b""
    await mesh.ended.wait()


async def test_an_opaque_listener_is_removed(mesh: Mesh) -> None:
    await mesh.start(mesh.config(file=OPAQUE, more=MORE))
    config = mesh.config(more=MORE)
    only = {"more": config.listeners["more"]}

    mesh.worker.apply(attrs.evolve(config, listeners=only), {})

    assert set(mesh.worker.chains()) == {"more"}
    assert (await (await mesh.connect("more")).ask()).endswith(b"origin")


async def test_a_client_in_the_queue_is_served_by_a_worker_that_drains(
    mesh: Mesh,
) -> None:
    await mesh.start()
    client = await mesh.connect()
    await client.stream.send_all(GET)

    mesh.worker.drain(60)

    assert (await client.answer()).endswith(b"origin")
    await mesh.ended.wait()


async def test_what_is_not_over_in_time_is_cut(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    await mesh.start()
    client = await mesh.connect()
    mesh.hold = trio.Event()
    await client.stream.send_all(GET)
    await mesh.until_asked(1)

    with caplog.at_level(logging.WARNING, "tulle.worker"):
        mesh.worker.drain(0)
        await mesh.ended.wait()

    assert caplog.messages == ["grace is over listener=web connections=1 cut"]
    assert await client.answer() == b""


async def test_a_removed_listeners_connection_is_cut_with_the_rest(
    mesh: Mesh,
) -> None:
    await mesh.start(mesh.config(more=MORE))
    client = await mesh.connect("more")
    mesh.hold = trio.Event()
    await client.stream.send_all(GET)
    await mesh.until_asked(1)
    mesh.worker.apply(mesh.config(), {})

    mesh.worker.drain(0)

    await mesh.ended.wait()
    assert await client.answer() == b""


@pytest.mark.parametrize(
    ("error", "reason"), [(Refused("no"), "refused"), (KeyError("x"), "filter failed")]
)
async def test_a_connection_filters_error_ends_the_connection(
    mesh: Mesh, error: Exception, reason: str
) -> None:
    bad = placing(mesh.config(), connection=(Placed("acl", Raising(error)),))
    await mesh.start(bad)
    client = await mesh.connect()

    assert await client.answer() == b""

    mesh.worker.drain(60)
    await mesh.ended.wait()
    counted = mesh.metrics.counter("tcp_close_total", "", ()).values
    assert counted == {("inbound", "src", reason): 1}


async def test_ended_connections_are_told_of_now_and_then(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    bad = placing(mesh.config(), connection=(Placed("acl", Raising(Refused("no"))),))
    await mesh.start(bad)

    with caplog.at_level(logging.DEBUG, "tulle.worker"):
        for _ in range(3):
            assert await (await mesh.connect()).answer() == b""

    levels = [each.levelname for each in caplog.records]
    assert levels == ["INFO", "DEBUG", "DEBUG"]
    assert "error=refused by=acl detail=no" in caplog.messages[0]


async def test_a_configuration_that_cannot_be_built_does_not_run(mesh: Mesh) -> None:
    bad = placing(mesh.config(), request=(Placed("bad", Unbuildable()),))
    mesh.worker.config = bad

    told = pytest.RaisesExc(ConfigError, match="no such key")
    with pytest.RaisesGroup(told, flatten_subgroups=True):
        await mesh.worker.run(mesh.open("web"))

    assert mesh.worker.chains() == {}


async def test_what_it_tells_of_itself_is_json(mesh: Mesh) -> None:
    await mesh.start()
    client = await mesh.connect()
    await client.ask()

    told = json.loads(json.dumps(mesh.worker.statistics()))
    chains = json.loads(json.dumps(mesh.worker.chains()))
    mesh.worker.collect()

    assert told["listeners"]["web"] == [
        {"accepted": 1, "active": 1, "cap": 10_000, "overloads": 0}
    ]
    assert told["http"] == {"web": "<Http 0 active 1 idle>"}
    (pool,) = told["services"]["app"]
    assert (pool["active"], pool["opened"]) == (0, 1)
    assert chains["web"]["to"] == "app"
    (shown,) = chains["web"]["request"]
    assert shown["filter"] == "headers"
    calls = mesh.metrics.counter("tulle_filter_calls_total", "", ()).values
    assert calls == {("request", "headers"): 1}


ORIGINAL = """
admin: 127.0.0.1:4191
listeners:
  in: {{address: 127.0.0.1:4143, direction: inbound, to: {{by: original}}, request: [] {more}}}
services:
  app: {{endpoints: ["{origin}"], addresses: ["10.0.0.7:80"] {service}}}
"""


@attrs.define
class Kernel:
    """Says of every connection that it was going to one address."""

    original: str | None = None

    def __call__(self, sock: socket.socket) -> str | None:
        return self.original


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr("proxy.worker.worker.original_destination", made)
    return made


async def test_a_redirected_request_goes_to_the_service_of_its_address(
    mesh: Mesh, kernel: Kernel
) -> None:
    await mesh.start(mesh.config(file=ORIGINAL))
    kernel.original = "10.0.0.7:80"
    client = await mesh.connect("in")

    assert (await client.ask()).endswith(b"origin")
    assert mesh.worker.chains()["in"]["to"] == "by original"  # type: ignore[index]  # a map


async def test_a_redirected_request_goes_on_to_an_address_that_nobody_named(
    mesh: Mesh, kernel: Kernel
) -> None:
    await mesh.start(mesh.config(file=ORIGINAL))
    kernel.original = mesh.origin
    client = await mesh.connect("in")
    answer = await client.ask()
    services = mesh.worker.statistics()["services"]

    assert answer.endswith(b"origin")
    assert isinstance(services, dict)
    assert [each["endpoint"] for each in services["original"]] == [mesh.origin]


async def test_redirected_bytes_go_on_to_their_address(
    mesh: Mesh, kernel: Kernel
) -> None:
    await mesh.start(mesh.config(file=ORIGINAL, more=", protocol: opaque"))
    kernel.original = mesh.origin
    client = await mesh.connect("in")
    await client.ask()
    await client.stream.aclose()
    await mesh.until_accepted(0)
    sent = mesh.metrics.counter("tulle_tcp_sent_bytes_total", "", ()).values

    assert list(sent) == [("inbound", "original")]


@pytest.mark.parametrize("original", [None, "127.0.0.1:4191"])
async def test_what_leads_back_to_the_proxy_is_a_loop(
    mesh: Mesh, kernel: Kernel, original: str | None
) -> None:
    await mesh.start(mesh.config(file=ORIGINAL))
    kernel.original = original
    client = await mesh.connect("in")
    answer = await client.ask()

    assert answer.startswith(b"HTTP/1.1 508 Loop Detected\r\n")
    assert b"tulle-error: loop detected; by=forward\r\n" in answer


async def test_where_the_proxy_listens_is_looked_at_as_it_changes(
    mesh: Mesh, kernel: Kernel
) -> None:
    await mesh.start(mesh.config(file=ORIGINAL))
    kernel.original = mesh.origin
    client = await mesh.connect("in")
    assert (await client.ask()).endswith(b"origin")
    config = mesh.config(file=ORIGINAL)
    same = attrs.evolve(config.listeners["in"], name="same", to="app")
    more = attrs.evolve(config, listeners={**config.listeners, "same": same})
    mesh.worker.apply(more, {"same": [mesh.behind.dup()]})

    assert (await client.ask()).startswith(b"HTTP/1.1 508 ")
