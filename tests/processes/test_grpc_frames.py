"""gRPC's library before the proxy, and a server behind it that errs, frame by frame.

The servers are the eight of gRPC's negative tests
(https://github.com/grpc/grpc/blob/master/doc/http2-interop-test-descriptions.md). A client
that is connected directly must see the same.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product

import attrs
import pytest

from tests.processes.grpc_frames import (
    PADDING,
    began,
    crumbs,
    ended,
    enveloped,
    going,
    well,
)
from tests.processes.interop import SERVICE
from tests.processes.pair import WAYS, Pair, paired
from tests.processes.programs import needed_module
from tests.processes.waiting import PATIENCE
from tests.wire.backend import Backend
from tests.wire.frames import Fields, Frames
from tests.wire.raw import NO_ERROR, data, goaway, ping, reset, settings

needed_module("grpc")
from tests.processes.grpcio_peers import Client, code  # noqa: E402  # needs grpc

pytestmark = pytest.mark.slow

ASKED = bytes(271_828)
ANSWER = bytes(range(256)) * (314_159 // 256)
CRUMB = 5
"""Bytes of a frame: with 255 of padding, a message takes hundreds of windows."""
MAX_CONCURRENT_STREAMS = 3
AT_ONCE = 10
INTERNAL = 13
"""What gRPC makes of a stream that is reset with NO_ERROR before its trailers."""


@attrs.frozen
class Place:
    """A server of frames, and a proxy before it."""

    pair: Pair
    backend: Backend

    def port(self, way: str) -> int:
        if way == "direct":
            return self.backend.address[1]
        return self.pair.port("app", way)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ExitStack() as stack:
        backend = stack.enter_context(Backend(well))
        apps = {"app": backend.address[1]}
        folder = tmp_path_factory.mktemp("frames")
        pair = stack.enter_context(paired(folder, apps, {"app": "grpc"}))
        yield Place(pair, backend)


@pytest.fixture
def place(running: Place) -> Place:
    """With no connection to the server, and no mistake to make."""
    running.backend.mistake = None
    running.backend.drop()
    return running


@pytest.fixture(params=["direct", *WAYS])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def requests(place: Place) -> list[int]:
    """How many requests came on each of the server's connections."""
    return [len(each.requests) for each in place.backend.conversations]


def test_goaway_moves_the_next_call_to_another_connection(
    place: Place, way: str
) -> None:
    place.backend.mistake = going("goaway", lambda s: [goaway(s), well(s)])
    with Client(place.port(way)) as client:
        first = client.ask("Echo", ASKED)
        second = client.ask("Echo", ASKED)

    for answer, call in (first, second):
        assert (code(call), answer) == (0, b"well")
    assert requests(place) == [1, 1]
    assert [each.bodies for each in place.backend.conversations] == [
        {1: enveloped(ASKED)}
    ] * 2


def after_header(stream: int) -> list[bytes]:
    return [began(stream), reset(stream, NO_ERROR)]


def during_data(stream: int) -> list[bytes]:
    half = enveloped(ANSWER)[: len(ANSWER) // 2]
    return [
        began(stream),
        *crumbs(stream, half, size=10_000),
        reset(stream, NO_ERROR),
    ]


def after_data(stream: int) -> list[bytes]:
    return [began(stream), data(stream, enveloped(b"x"), 0), reset(stream, NO_ERROR)]


@pytest.mark.parametrize("resets", [after_header, during_data, after_data])
def test_a_reset_before_the_trailers_fails_that_call_alone(
    place: Place, way: str, resets: Callable[[int], list[bytes]]
) -> None:
    place.backend.mistake = going("reset", resets)
    with Client(place.port(way)) as client:
        error = client.failure("Echo", ASKED)
        answer, call = client.ask("Echo")

    assert code(error) == INTERNAL
    assert (code(call), answer) == (0, b"well")
    # The connection was good, and nothing was asked for a second time.
    assert requests(place) == [2]


def test_every_ping_is_acknowledged_once(place: Place, way: str) -> None:
    sent = [b"no head.", b"the head", b"no data.", b"the data"]

    def pings(stream: int) -> list[bytes]:
        message = data(stream, enveloped(b"well"), 0)
        first, second, third, last = map(ping, sent)
        return [first, began(stream), second, third, message, last, ended(stream)]

    place.backend.mistake = going("ping", pings)
    with Client(place.port(way)) as client:
        answer, call = client.ask("Echo", ASKED)
        (conversation,) = place.backend.conversations
        assert place.backend.wait(lambda: len(conversation.pongs) >= len(sent))

    assert (code(call), answer) == (0, b"well")
    assert conversation.pongs == sent
    assert requests(place) == [1]


def test_a_connection_of_one_stream_is_given_one(place: Place, way: str) -> None:
    # Behind a proxy all calls are under way at a time, each on its own connection;
    # a client by itself has one connection, where calls wait for one another.
    connections = 1 if way == "direct" else AT_ONCE
    together = threading.Barrier(1)

    def held(stream: int) -> Iterator[bytes]:
        together.wait(PATIENCE)
        yield well(stream)

    greeting = settings((MAX_CONCURRENT_STREAMS, 1))
    place.backend.mistake = going("max", held, greeting=greeting, always=True)
    with Client(place.port(way)) as client:
        client.ask("Echo", ASKED)
        together = threading.Barrier(connections)
        method = client.unary("Echo")
        calls = [method.future(ASKED, timeout=PATIENCE) for _ in range(AT_ONCE)]
        answers = [each.result() for each in calls]

    assert answers == [b"well"] * AT_ONCE
    one_each = [1 + AT_ONCE] if connections == 1 else [2] + [1] * (AT_ONCE - 1)
    assert sorted(requests(place), reverse=True) == one_each


@pytest.mark.parametrize(
    ("way", "padding"),
    # gRPC's own library takes no padding.
    [("direct", 0), *product(WAYS, (0, PADDING))],
)
def test_a_message_comes_in_crumbs(place: Place, way: str, padding: int) -> None:
    def crumbled(stream: int) -> Iterator[bytes]:
        content = enveloped(ANSWER)
        yield began(stream)
        yield from crumbs(stream, content, size=CRUMB, padding=padding)
        yield ended(stream)

    place.backend.mistake = going("crumbs", crumbled)
    with Client(place.port(way)) as client:
        answer, call = client.ask("Echo", ASKED)

    assert (code(call), answer == ANSWER) == (0, True)
    assert requests(place) == [1]
    # Padding counts against the windows: one who doesn't give it back gets no end.
    frame = 9 + CRUMB + (1 + padding if padding else 0)
    assert place.backend.conversations[0].sent > len(ANSWER) // CRUMB * frame


@pytest.mark.parametrize("way", WAYS)
def test_a_compressed_message_is_not_touched(place: Place, way: str) -> None:
    asking: Fields = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"app"),
        (b":path", b"/%b/Echo" % SERVICE.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"grpc-encoding", b"gzip"),
        (b"grpc-accept-encoding", b"identity,gzip"),
    )
    asked = in_both_ways(b"asked")
    answered = in_both_ways(b"answered")

    def compressed(stream: int) -> list[bytes]:
        head = began(stream, (b"grpc-encoding", b"gzip"))
        return [head, *crumbs(stream, answered, size=3), ended(stream)]

    place.backend.mistake = going("compressed", compressed)
    with Frames(("127.0.0.1", place.port(way))) as client:
        client.send(client.head(1, asking, is_end=False))
        client.send(*crumbs(1, asked, size=3), data(1, b""))
        answer = client.wait_for(1)

    (conversation,) = place.backend.conversations
    assert conversation.requests[0][b"grpc-encoding"] == b"gzip"
    assert conversation.requests[0][b"grpc-accept-encoding"] == b"identity,gzip"
    assert conversation.bodies == {1: asked}
    assert (answer.status, answer.is_ended) == (200, True)
    assert (b"grpc-encoding", b"gzip") in answer.fields
    assert (b"grpc-status", b"0") in answer.fields
    assert answer.data == answered
    assert asked[0] == answered[0] == 1


def in_both_ways(text: bytes) -> bytes:
    """One message compressed, and behind it one that is not: a stream may have both."""
    zipped = gzip.compress(text * 100, mtime=0)
    return enveloped(zipped, compressed=1) + enveloped(text)
