"""A client that floods is cut within a bound, and a good one beside it notices nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.wire.client import Address
from tests.wire.frames import GET, Frames
from tests.wire.origin import Origin
from tests.wire.running import Running, free_ports, running

pytestmark = [pytest.mark.slow, pytest.mark.wire]

ENOUGH = 20_000
"""Frames; an attacker that is not cut by then has won."""
SECONDS = 5.0
CALM = 30
"""Requests of the good client."""
MIB = 1024 * 1024

POST = ((b":method", b"POST"), *GET[1:])


@attrs.define(eq=False)
class Attacker:
    """What a flood needs to keep in mind."""

    client: Frames
    stream: int = -1

    def next_stream(self) -> int:
        self.stream += 2
        return self.stream

    def open(self, *, is_end: bool = False) -> tuple[int, Frame]:
        stream = self.next_stream()
        return stream, self.client.head(stream, POST, is_end=is_end)


def rapid_reset(attacker: Attacker) -> list[Frame]:
    stream, head = attacker.open(is_end=True)
    return [head, RstStreamFrame(stream, error_code=8)]


def window_update_of_nothing(attacker: Attacker) -> list[Frame]:
    stream, head = attacker.open()
    return [head, WindowUpdateFrame(stream, window_increment=1), _zero(stream)]


def _zero(stream: int) -> Frame:
    frame = WindowUpdateFrame(stream, window_increment=1)
    frame.window_increment = 0
    return frame


def window_overflow(attacker: Attacker) -> list[Frame]:
    stream, head = attacker.open()
    most = WindowUpdateFrame(stream, window_increment=2**31 - 1)
    return [head, most, most]


def priority_of_a_wrong_length(attacker: Attacker) -> list[Frame | bytes]:
    stream, head = attacker.open()
    return [head, b"\x00\x00\x04\x02\x00" + stream.to_bytes(4, "big") + b"\x00" * 4]


def priority_on_itself(attacker: Attacker) -> list[Frame]:
    stream, head = attacker.open()
    return [head, PriorityFrame(stream, depends_on=stream, stream_weight=1)]


def headers_behind_the_end(attacker: Attacker) -> list[Frame]:
    stream, head = attacker.open(is_end=True)
    return [head, attacker.client.head(stream, POST)]


def data_behind_the_end(attacker: Attacker) -> list[Frame]:
    stream, head = attacker.open(is_end=True)
    return [head, DataFrame(stream, b"x")]


def continuations(attacker: Attacker) -> list[Frame]:
    if attacker.stream < 0:
        stream = attacker.next_stream()
        return [HeadersFrame(stream, attacker.client.block(GET))]
    return [ContinuationFrame(attacker.stream, b"\x00\x01x\x01y" * 100)]


def header_bomb(attacker: Attacker) -> list[Frame]:
    """Ever the same field out of the table: a byte each (CVE-2016-6581)."""
    stream = attacker.next_stream()
    block = attacker.client.block((*GET, (b"x-bomb", b"b" * 3000)))
    return [
        HeadersFrame(
            stream, block + b"\xbe" * 10_000, flags=["END_HEADERS", "END_STREAM"]
        )
    ]


def pings(attacker: Attacker) -> list[Frame]:
    return [PingFrame(0, b"12345678")]


def settings(attacker: Attacker) -> list[Frame]:
    return [SettingsFrame(0, settings={4: 65_535})]


def empty_data(attacker: Attacker) -> list[Frame]:
    if attacker.stream < 0:
        return [attacker.open()[1]]
    return [DataFrame(attacker.stream, b"")]


def priorities(attacker: Attacker) -> list[Frame]:
    return [PriorityFrame(1, depends_on=0, stream_weight=1)]


def window_updates(attacker: Attacker) -> list[Frame]:
    return [WindowUpdateFrame(0, window_increment=1)]


def nameless_fields(attacker: Attacker) -> list[Frame]:
    """Fields of no bytes (CVE-2019-9516)."""
    stream = attacker.next_stream()
    block = attacker.client.block(GET) + b"\x00\x00\x00" * 1000
    return [HeadersFrame(stream, block, flags=["END_HEADERS", "END_STREAM"])]


def resets_of_idle_streams(attacker: Attacker) -> list[Frame]:
    return [RstStreamFrame(attacker.next_stream(), error_code=8)]


def huffman_padding(attacker: Attacker) -> list[Frame]:
    """More than 7 bits of padding (RFC 7541, 5.2)."""
    stream = attacker.next_stream()
    block = attacker.client.block(GET) + b"\x00\x01x\x82\xff\xff"
    return [HeadersFrame(stream, block, flags=["END_HEADERS", "END_STREAM"])]


def table_flips(attacker: Attacker) -> list[Frame]:
    """A size of the table over what was allowed (RFC 7541, 6.3)."""
    stream = attacker.next_stream()
    block = b"\x3f\xe2\xff\x03" + attacker.client.block(GET)
    return [HeadersFrame(stream, block, flags=["END_HEADERS", "END_STREAM"])]


def refused_streams(attacker: Attacker) -> list[Frame]:
    """More at a time than were granted, again and again."""
    return [attacker.open()[1]]


def heads_that_are_none(attacker: Attacker) -> list[Frame]:
    stream = attacker.next_stream()
    return [attacker.client.head(stream, (*GET, (b"X-Upper", b"1")))]


FLOODS: list[Callable[[Attacker], list[Frame] | list[Frame | bytes]]] = [
    rapid_reset,
    window_update_of_nothing,
    window_overflow,
    priority_of_a_wrong_length,
    priority_on_itself,
    headers_behind_the_end,
    data_behind_the_end,
    continuations,
    header_bomb,
    pings,
    settings,
    empty_data,
    priorities,
    window_updates,
    nameless_fields,
    resets_of_idle_streams,
    huffman_padding,
    table_flips,
    refused_streams,
    heads_that_are_none,
]


@attrs.frozen
class Place:
    """A proxy, its origin, and what it held before."""

    origin: Origin
    proxy: Running

    @property
    def address(self) -> Address:
        return self.proxy.addresses[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    (port,) = free_ports(1)
    log: Path = tmp_path_factory.mktemp("floods") / "proxy.log"
    with Origin() as origin:
        arguments = ["--listen", f"127.0.0.1:{port}", "--to", origin.url]
        with running(arguments, [port], log) as proxy:
            with Good(proxy.addresses[0]):
                pass  # what HTTP/2 takes at first is no flood's
            yield Place(origin, proxy)


class Good:
    """A client that asks one thing after the other, all the while."""

    def __init__(self, address: Address) -> None:
        self.seconds: list[float] = []
        self.statuses: set[int | None] = set()
        self._address = address
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Good:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        stream = 1
        with Frames(self._address) as client:
            while not (self._ends.is_set() and len(self.seconds) >= CALM):
                begun = time.monotonic()
                self.statuses.add(client.ask(stream).status)
                self.seconds.append(time.monotonic() - begun)
                stream += 2


def attack(
    address: Address, flood: Callable[[Attacker], list[Frame] | list[Frame | bytes]]
) -> tuple[int, float, Frames]:
    """Flood until cut; how many frames, and for how long."""
    sent, begun = 0, time.monotonic()
    with Frames(address) as client:
        attacker = Attacker(client)
        while sent < ENOUGH and time.monotonic() < begun + SECONDS:
            frames = flood(attacker)
            sent += len(frames)
            if not client.send(*frames):
                break
            client.take_soon()
            if client.goaway is not None or client.has_ended:
                break
        # It may all have been sent before the proxy had its turn.
        client.wait(lambda: client.goaway is not None)
    return sent, time.monotonic() - begun, client


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
def test_the_attacker_is_cut_and_the_good_client_is_not(
    place: Place, flood: Callable[[Attacker], list[Frame] | list[Frame | bytes]]
) -> None:
    place.origin.take()
    before = place.proxy.resident()

    with Good(place.address) as good:
        sent, seconds, client = attack(place.address, flood)

    assert client.goaway is not None or client.has_ended
    assert seconds <= 1.0 or sent <= 1000
    assert good.statuses == {200}
    assert sorted(good.seconds)[len(good.seconds) // 2] < 0.25
    assert place.proxy.resident() - before < 32 * MIB
    asked = [each for each in place.origin.take() if each.method == b"POST"]
    assert len(asked) <= 250
