"""What floods are made of: frames, turn by turn, and the code that ends each.

A flood is blind: it does not look at what comes back, so that what a turn sends is known
before, and a client can send it at full speed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import hpack
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

from tests.wire.frames import GET
from tests.wire.raw import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    LARGEST_WINDOW,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    Field,
    block,
    settings,
)

POST = ((b":method", b"POST"), *GET[1:])
WHOLE = ["END_HEADERS", "END_STREAM"]

TABLE_SIZE, WINDOW_SIZE = 0x1, 0x4
"""Settings (RFC 9113, 6.5.2)."""

NEWEST = b"\xbe"
"""The field that came into the table last."""

Flood = Sequence[Frame | bytes]
Codes = AbstractSet[int | None]


class Attacker:
    """What a flood needs to keep in mind."""

    def __init__(self) -> None:
        self.stream = -1

    def next_stream(self) -> int:
        self.stream += 2
        return self.stream

    def head(self, stream: int, *, is_end: bool) -> Frame:
        flags = WHOLE if is_end else ["END_HEADERS"]
        return HeadersFrame(stream, block(POST), flags=flags)

    def open(self, *, is_end: bool = False) -> tuple[int, Frame]:
        stream = self.next_stream()
        return stream, self.head(stream, is_end=is_end)

    def request(self, before: bytes = b"", behind: bytes = b"") -> Frame:
        """A whole request, with something before and behind its fields."""
        stream = self.next_stream()
        return HeadersFrame(stream, before + block(POST) + behind, flags=WHOLE)


def indexed(field: Field) -> bytes:
    """A field that is put into the table: ``NEWEST`` stands for it from then on."""
    return hpack.Encoder().encode([field], huffman=False)


def rapid_reset(attacker: Attacker) -> Flood:
    stream, head = attacker.open(is_end=True)
    return [head, RstStreamFrame(stream, error_code=CANCEL)]


def window_update_of_nothing(attacker: Attacker) -> Flood:
    stream, head = attacker.open()
    return [head, WindowUpdateFrame(stream, window_increment=1), _zero(stream)]


def _zero(stream: int) -> Frame:
    frame = WindowUpdateFrame(stream, window_increment=1)
    frame.window_increment = 0
    return frame


def window_overflow(attacker: Attacker) -> Flood:
    stream, head = attacker.open()
    most = WindowUpdateFrame(stream, window_increment=LARGEST_WINDOW)
    return [head, most, most]


def priority_of_a_wrong_length(attacker: Attacker) -> Flood:
    stream, head = attacker.open()
    return [head, b"\x00\x00\x04\x02\x00" + stream.to_bytes(4, "big") + b"\x00" * 4]


def priority_on_itself(attacker: Attacker) -> Flood:
    stream, head = attacker.open()
    return [head, PriorityFrame(stream, depends_on=stream, stream_weight=1)]


def headers_behind_the_end(attacker: Attacker) -> Flood:
    stream, head = attacker.open(is_end=True)
    return [head, attacker.head(stream, is_end=True)]


def data_behind_the_end(attacker: Attacker) -> Flood:
    stream, head = attacker.open(is_end=True)
    return [head, DataFrame(stream, b"x")]


def continuations(attacker: Attacker) -> Flood:
    if attacker.stream < 0:
        return [HeadersFrame(attacker.next_stream(), block(POST))]
    return [ContinuationFrame(attacker.stream, b"\x00\x01x\x01y" * 100)]


def header_bomb(attacker: Attacker) -> Flood:
    """Ever the same field out of the table: a byte each (CVE-2016-6581)."""
    bomb = indexed((b"x-bomb", b"b" * 3000))
    return [attacker.request(behind=bomb + NEWEST * 10_000)]


def cookie_crumbs(attacker: Attacker) -> Flood:
    """Fewer fields than any codec minds, one cookie once put together, and no window for
    what they are answered with (CVE-2026-49975)."""
    crumb = indexed((b"cookie", b"a=b"))
    first = [settings((WINDOW_SIZE, 0))] if attacker.stream < 0 else []
    return [*first, attacker.request(behind=crumb + NEWEST * 900)]


def cookie_bomb(attacker: Attacker) -> Flood:
    """More crumbs of a cookie than a codec takes, though they are few bytes."""
    return [attacker.request(behind=b"\xa0" * 2000)]


def pings(attacker: Attacker) -> Flood:
    return [PingFrame(0, b"12345678")]


def same_settings(attacker: Attacker) -> Flood:
    return [SettingsFrame(0, settings={WINDOW_SIZE: 65_535})]


def settings_of_the_table(attacker: Attacker) -> Flood:
    """Flips of the size that the proxy's own table may have."""
    return [settings(*[(TABLE_SIZE, 0), (TABLE_SIZE, 4096)] * 16)]


def updates_of_the_table(attacker: Attacker) -> Flood:
    """Flips of the size of the client's table, a thousand times in front of each head
    though a block has two at the most (RFC 7541, 4.2)."""
    return [attacker.request(before=b"\x20\x3f\xe1\x1f" * 3000)]


def table_over_its_size(attacker: Attacker) -> Flood:
    """A size of the table over what was allowed (RFC 7541, 6.3)."""
    return [attacker.request(before=b"\x3f\xe2\xff\x03")]


def empty_data(attacker: Attacker) -> Flood:
    if attacker.stream < 0:
        return [attacker.open()[1]]
    return [DataFrame(attacker.stream, b"")]


def priorities(attacker: Attacker) -> Flood:
    return [PriorityFrame(1, depends_on=0, stream_weight=1)]


def window_updates(attacker: Attacker) -> Flood:
    return [WindowUpdateFrame(0, window_increment=1)]


def nameless_fields(attacker: Attacker) -> Flood:
    """Fields of no bytes (CVE-2019-9516)."""
    return [attacker.request(behind=b"\x00\x00\x00" * 900)]


def resets_of_idle_streams(attacker: Attacker) -> Flood:
    return [RstStreamFrame(attacker.next_stream(), error_code=CANCEL)]


def huffman_padding(attacker: Attacker) -> Flood:
    """More than 7 bits of padding (RFC 7541, 5.2)."""
    return [attacker.request(behind=b"\x00\x01x\x82\xff\xff")]


def refused_streams(attacker: Attacker) -> Flood:
    """More at a time than were granted, again and again."""
    return [attacker.open()[1]]


def heads_that_are_none(attacker: Attacker) -> Flood:
    return [attacker.request(behind=b"\x00\x07X-Upper\x011")]


CALM: Codes = {ENHANCE_YOUR_CALM}
WRONG: Codes = {PROTOCOL_ERROR}
TABLE: Codes = {COMPRESSION_ERROR}
SERVED: Codes = {None}
"""Of what costs its proxy no more than its bytes."""
SIZE: Codes = {FRAME_SIZE_ERROR}
FLOW: Codes = {FLOW_CONTROL_ERROR}
CLOSED: Codes = {STREAM_CLOSED}

FLOODS: Mapping[Callable[[Attacker], Flood], tuple[Codes, Codes]] = {
    rapid_reset: (CALM, CALM),
    window_update_of_nothing: (WRONG, WRONG),
    window_overflow: (FLOW, CALM),
    priority_of_a_wrong_length: (SIZE, SIZE),
    priority_on_itself: (WRONG, WRONG),
    headers_behind_the_end: (CLOSED, CLOSED),
    data_behind_the_end: (CLOSED, CLOSED),
    continuations: (CALM, CALM),
    header_bomb: (CALM, CALM),
    cookie_crumbs: (CALM | WRONG, CALM),
    cookie_bomb: (CALM, CALM),
    pings: (CALM, CALM),
    same_settings: (CALM, CALM),
    settings_of_the_table: (CALM, CALM),
    updates_of_the_table: (CALM | WRONG | SERVED, TABLE),
    table_over_its_size: (TABLE, TABLE),
    empty_data: (CALM, CALM),
    priorities: (CALM, CALM),
    window_updates: (CALM, CALM),
    nameless_fields: (CALM | WRONG, CALM | WRONG),
    resets_of_idle_streams: (CALM | WRONG, CALM | WRONG),
    huffman_padding: (TABLE, TABLE),
    refused_streams: (CALM | WRONG, CALM | WRONG),
    heads_that_are_none: (CALM | WRONG, CALM | WRONG),
}
"""Floods, and the code that ends each under ``ngh2`` and under ``h2``: one of two where
the bound that is met first depends on where the reads cut the flood."""
