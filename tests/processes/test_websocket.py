"""WebSockets through the proxy and a pair of them, over HTTP/1.1 and over HTTP/2."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import attrs
import pytest
from hyperframe.frame import DataFrame, SettingsFrame
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect as open_websocket

from tests.processes.origin import Origin, pattern
from tests.processes.pair import WAYS, Pair, paired
from tests.processes.programs import needed_module
from tests.processes.talk import echoing
from tests.processes.waiting import PATIENCE
from tests.wire.frames import Answer, Fields, Frames
from tests.wire.running import free_ports

pytestmark = pytest.mark.slow

ASKING: Fields = (
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"http"),
    (b":authority", b"app"),
    (b":path", b"/status/403"),
    (b"sec-websocket-version", b"13"),
)
"""A WebSocket's extended CONNECT (RFC 8441, 5); to the echo every path is the same."""
SLOW = ("9.*", "12.*", "13.*")
"""Kinds of cases that take minutes: large messages, and compressed ones."""
LEFT_OUT = [word for case in SLOW for word in ("-x", case)]
KOSOKU = [sys.executable, "-c", "from kosoku._cli import main; main()", *LEFT_OUT]
"""Its command, of this Python's."""
AT_ONCE = 4
"""Cases; some of them wait for seconds."""


CASES = 247
"""Of kosoku's, those that are left."""
Verdicts = dict[str, str]


@attrs.frozen
class Place:
    """A server of WebSockets, one of HTTP, and a proxy before both."""

    pair: Pair
    echo: int
    kosoku: int
    """Where kosoku listens, when it is the server."""

    def url(self, way: str, app: str = "echo") -> str:
        return f"ws://127.0.0.1:{self.pair.port(app, way)}/status/403"

    def frames(self, way: str, app: str = "echo") -> Frames:
        return Frames(("127.0.0.1", self.pair.port(app, way)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ExitStack() as stack:
        origin = stack.enter_context(Origin())
        echo = stack.enter_context(echoing())
        (kosoku,) = free_ports(1)
        apps = {"echo": echo, "origin": origin.port, "kosoku": kosoku}
        pair = stack.enter_context(paired(tmp_path_factory.mktemp("ws"), apps))
        yield Place(pair, echo, kosoku)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_messages_of_all_sizes_come_back(place: Place, way: str) -> None:
    messages: list[str | bytes] = ["text", b"", b"".join(pattern(3_000_000)), "more"]

    with open_websocket(place.url(way), max_size=None) as websocket:
        for message in messages:
            websocket.send(message)
            assert websocket.recv(PATIENCE) == message
        assert websocket.ping().wait(PATIENCE)
        websocket.close(4000, "enough")

        assert (websocket.close_code, websocket.close_reason) == (4000, "enough")


def test_a_refusal_is_plain_http(place: Place, way: str) -> None:
    with pytest.raises(InvalidStatus) as raised:
        open_websocket(place.url(way, "origin"))

    assert raised.value.response.status_code == 403
    assert raised.value.response.body == b"as asked\n"


def test_clients_are_told_that_http2_takes_websockets(place: Place, way: str) -> None:
    with place.frames(way) as frames:
        frames.wait(lambda: frames.received)

        first = frames.received[0]
        assert isinstance(first, SettingsFrame)
        assert first.settings[SettingsFrame.ENABLE_CONNECT_PROTOCOL] == 1


def test_a_stream_of_http2_carries_a_websocket(place: Place, way: str) -> None:
    with place.frames(way) as frames:
        frames.send(frames.head(1, ASKING, is_end=False))
        answer = frames.answers.setdefault(1, Answer())
        frames.wait(lambda: answer.status)
        assert answer.status == 200
        assert b"sec-websocket-accept" not in dict(answer.fields)

        asked = Frame(Opcode.TEXT, b"over HTTP/2").serialize(mask=True)
        frames.send(DataFrame(1, asked))
        echoed = Frame(Opcode.TEXT, b"over HTTP/2").serialize(mask=False)
        frames.wait(lambda: len(answer.data) >= len(echoed))
        assert answer.data == echoed

        closing = Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)
        frames.send(DataFrame(1, closing))
        closed = Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False)
        frames.wait(lambda: answer.is_over)
        assert answer.data == echoed + closed


def test_streams_of_one_connection_are_websockets_of_their_own(
    place: Place, way: str
) -> None:
    streams = range(1, 21, 2)
    with place.frames(way) as frames:
        for stream in streams:
            frames.send(frames.head(stream, ASKING, is_end=False))
            text = Frame(Opcode.TEXT, b"%d" % stream).serialize(mask=True)
            answer = frames.answers.setdefault(stream, Answer())
            frames.wait(lambda answer=answer: answer.status)  # type: ignore[misc]  # its default
            frames.send(DataFrame(stream, text))
        for stream in streams:
            echoed = Frame(Opcode.TEXT, b"%d" % stream).serialize(mask=False)
            answer = frames.answers[stream]
            frames.wait(lambda answer=answer: answer.data)  # type: ignore[misc]  # its default
            assert answer.data == echoed


def test_a_refusal_is_plain_http_over_http2_too(place: Place, way: str) -> None:
    with place.frames(way, "origin") as frames:
        frames.send(frames.head(1, ASKING, is_end=False))
        answer = frames.wait_for(1)

    assert (answer.status, answer.data) == (403, b"as asked\n")


@pytest.fixture(scope="module")
def of_server(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """What kosoku, as a client, says of the server by itself."""
    needs_kosoku()
    return verdicts_on_server(place.echo, tmp_path_factory.mktemp("kosoku"))


@pytest.fixture(scope="module")
def of_client(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """What kosoku, as a server, says of the client by itself."""
    needs_kosoku()
    folder = tmp_path_factory.mktemp("kosoku")
    return verdicts_on_client(place.kosoku, place.kosoku, folder)


def needs_kosoku() -> None:
    needed_module("kosoku")


def test_kosoku_sees_no_proxy_before_a_server(
    place: Place, way: str, of_server: Verdicts, tmp_path: Path
) -> None:
    proxied = verdicts_on_server(place.pair.port("echo", way), tmp_path)

    assert len(of_server) == CASES
    assert proxied == of_server


def test_kosoku_sees_no_proxy_behind_a_client(
    place: Place, way: str, of_client: Verdicts, tmp_path: Path
) -> None:
    port = place.pair.port("kosoku", way)

    proxied = verdicts_on_client(place.kosoku, port, tmp_path)

    assert len(of_client) == CASES
    assert proxied == of_client


def verdicts_on_server(port: int, folder: Path) -> Verdicts:
    """Have kosoku send each of its cases to a server."""
    address = f"ws://127.0.0.1:{port}"
    options = ["-p", str(AT_ONCE), "-o", str(folder)]
    # It fails when one case does, and some do without a proxy.
    subprocess.run(
        [*KOSOKU, *options, address], capture_output=True, timeout=60, check=False
    )
    return reported(folder)


def verdicts_on_client(listens: int, port: int, folder: Path) -> Verdicts:
    """Have kosoku serve each of its cases to a client that connects to ``port``."""
    address = f"127.0.0.1:{listens}"
    command = [*KOSOKU, "-m", "fuzzingserver", "-o", str(folder), address]
    url = f"ws://127.0.0.1:{port}"

    def echo(number: int) -> None:
        case = f"{url}/runCase?case={number}&agent=tulle"
        with (
            suppress(ConnectionClosed),  # most cases are about that
            open_websocket(case, compression=None, max_size=None) as websocket,
        ):
            for message in websocket:
                websocket.send(message)

    with subprocess.Popen(command, stderr=subprocess.PIPE) as server:
        assert server.stderr is not None
        try:
            assert b"listening" in server.stderr.readline()
            with open_websocket(f"{url}/getCaseCount") as websocket:
                numbers = range(1, int(websocket.recv(PATIENCE)) + 1)
            with ThreadPoolExecutor(AT_ONCE) as together:
                list(together.map(echo, numbers))
            with open_websocket(f"{url}/updateReports?agent=tulle"):
                pass
            server.wait(PATIENCE)
        finally:
            server.kill()
    return reported(folder)


def reported(folder: Path) -> Verdicts:
    """Of each of kosoku's cases: what became of it, and of its closing.

    Whether an answer still comes before a connection fails is a race that the peer alone
    does not decide either: kosoku calls that one not strict.
    """
    report = json.loads((folder / "index.json").read_text())
    (cases,) = report.values()
    return {
        name: f"{case['behavior'].replace('NON-STRICT', 'OK')} {case['behaviorClose']}"
        for name, case in cases.items()
    }
