"""What a peer's frames may cost, counted before anything is decoded.

Libraries keep the protocol; that a peer keeps it to no purpose is for us to notice. Each
bound names the attack and its precedent. A frame is known by its first nine bytes, so
that counting costs next to nothing, wherever reads cut it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from struct import Struct

from proxy.codec.h2.codec import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    Role,
    Settings,
)
from proxy.codec.h2.halves import Halves

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
"""Frame types (RFC 9113, 6)."""

END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4

EMPTY = 1
"""Empty frames in a row that end nothing (CVE-2019-9518; Envoy: 1)."""

PRIORITIES = 100
"""PRIORITY frames, so many for each stream and one (CVE-2019-9513; Envoy: 100)."""

WINDOW_UPDATES, FOR_STREAM, FOR_DATA = 5, 2, 20
"""WINDOW_UPDATE frames at first, and more for each stream and DATA frame that we sent
(Envoy: 5 + 2 × (streams + 10 × DATA)), were no window in its way (CVE-2019-9511)."""

ENTRIES = 32
"""Settings in one frame (nghttp2: 32)."""

BURST, RATE = 200, 20.0
"""PING and SETTINGS frames at once, and a second (CVE-2019-9512, 9515). Each DATA and
HEADERS frame allows one more: gRPC measures the bandwidth with a PING behind data."""

RESETS, RESET_RATE = 500, 100.0
"""RST_STREAM frames at once, and a second: behind what the session makes of them."""

UNHEARD, WINDOW = 200, 1.0
"""Heads of a client's within so many seconds that became neither a request nor trailers:
malformed, or of more streams than were granted. The library answers each with a reset
(CVE-2025-8671). A server's are not counted: it may answer what was given up meanwhile."""

HEADS = 100
"""Heads that are decoded at a time."""

PADDED, PRIORITISED = 0x8, 0x20

_read_head = Struct(">BHBBL").unpack_from
"""A frame's first nine bytes: its length in two parts, type, flags, stream."""

_MISPLACED = "a frame on a stream that its sender has ended"


class Guard:
    """Counts one connection's incoming frames."""

    __slots__ = (
        "_block",
        "_clock",
        "_continuations",
        "_controls",
        "_controls_at",
        "_counts_heads",
        "_empty",
        "_head",
        "_heads",
        "_max_frame",
        "_preface",
        "_priorities",
        "_resets",
        "_resets_at",
        "_skip",
        "_streams",
        "_unheard",
        "_unheard_at",
        "_windows",
        "code",
        "halves",
        "heard",
        "sent",
    )

    def __init__(
        self,
        role: Role,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        alive: Collection[int] = (),
    ) -> None:
        """``alive`` is kept up by the codec: the streams that are not closed."""
        self.sent = 0
        """DATA frames that our bodies make, about: the codec counts them here."""
        self.heard = 0
        """Heads that the codec has made something of: counted here, too."""
        self.code = ENHANCE_YOUR_CALM
        """What a breach is told with."""
        self.halves = Halves(role, alive)
        self._max_frame = settings.max_frame
        self._heads = settings.heads
        self._clock = clock
        self._preface = len(PREFACE) if role == "server" else 0
        self._head = b""
        self._skip = 0
        self._streams = 0
        self._block = 0
        self._continuations = 0
        self._empty = 0
        self._priorities = 0
        self._windows = 0
        self._controls, self._controls_at = float(BURST), clock()
        self._resets, self._resets_at = float(RESETS), self._controls_at
        self._counts_heads = role == "server"
        self._unheard, self._unheard_at = 0, self._controls_at

    def check(self, data: bytes) -> str:
        """Count the frames in ``data``; what is too much of them, or nothing."""
        if self._counts_heads and self._streams - self.heard - self._unheard > UNHEARD:
            now = self._clock()
            if now < self._unheard_at + WINDOW:
                return "too many heads that are no requests"
            self._unheard, self._unheard_at = self._streams - self.heard, now
        if self._preface:
            skipped = min(self._preface, len(data))
            self._preface -= skipped
            data = data[skipped:]
        if self._head:
            data = self._head + data
            self._head = b""
        position, end = self._skip, len(data)
        while position + 9 <= end:
            high, length, kind, flags, stream = _read_head(data, position)
            length |= high << 16
            stream &= 0x7FFFFFFF
            if length > self._max_frame:
                self.code = FRAME_SIZE_ERROR
                return "a frame over its limit"
            if kind == PRIORITY or (kind == HEADERS and flags & PRIORITISED):
                if position + 15 > end and position + 9 + length > end:
                    break  # what it depends on is still to come
                if kind == PRIORITY and not stream:
                    self.code = PROTOCOL_ERROR
                    return "a priority of no stream"
                if _depends_on_itself(data, position, kind, flags, length, stream):
                    self.code = PROTOCOL_ERROR
                    return "a stream that depends on itself"
            if kind == DATA:
                why = self._count_data(stream, flags, length)
            elif kind == HEADERS:
                why = self._count_headers(stream, flags, length)
            else:
                why = self._count(kind, stream, flags, length)
            if why:
                return why
            position += 9 + length
        if position < end:
            self._head = data[position:]
            self._skip = 0
        else:
            self._skip = position - end
        return ""

    def stop(self, data: bytes, start: int, most: int, least: int) -> int:
        """Where to end a piece of ``data`` from ``start`` on: at ``most``, or before more
        heads than ``HEADS``. By HPACK, 28 bytes are a head of 57 KB, 0.2 ms to take apart.

        Called when all before ``start`` has been checked.
        """
        if self._head:  # of a frame whose kind is not known
            return start + least
        position, heads = start + self._skip, 0
        while position + 4 <= most:
            if data[position + 3] == HEADERS:
                heads += 1
                if heads > HEADS:
                    return position
            position += 9 + int.from_bytes(data[position : position + 3], "big")
        return most

    def _count(self, kind: int, stream: int, flags: int, length: int) -> str:
        if kind == WINDOW_UPDATE:
            self._windows += 1
            allowed = FOR_STREAM * self._streams + FOR_DATA * self.sent
            if self._windows > WINDOW_UPDATES + allowed:
                return "too many WINDOW_UPDATE frames"
        elif kind == CONTINUATION:
            return self._count_continuation(flags, length)
        elif kind == RST_STREAM:
            self.halves.reset(stream)
            now = self._clock()
            self._resets += (now - self._resets_at) * RESET_RATE
            self._resets, self._resets_at = min(self._resets, RESETS) - 1, now
            if self._resets < 0:
                return "too many RST_STREAM frames"
        elif kind in (PING, SETTINGS):
            return self._count_control(kind, flags, length)
        elif kind == PRIORITY:
            self._priorities += 1
            if self._priorities > PRIORITIES * (1 + self._streams):
                return "too many PRIORITY frames"
        return ""

    def _count_data(self, stream: int, flags: int, length: int) -> str:
        code = self.halves.data(stream, flags & END_STREAM)
        if code:
            self.code = code
            return _MISPLACED
        if self._controls < BURST:
            self._controls += 1
        if length or flags & END_STREAM:
            self._empty = 0
            return ""
        return self._count_empty()

    def _count_headers(self, stream: int, flags: int, length: int) -> str:
        code = self.halves.head(stream, flags & END_STREAM)
        if code:
            self.code = code
            return _MISPLACED
        if self._controls < BURST:
            self._controls += 1
        self._streams += 1
        self._block, self._continuations = length, 0
        if length > self._heads.size:
            return "a head over its limit"
        if length or flags & END_HEADERS:
            self._empty = 0
            return ""
        return self._count_empty()

    def _count_continuation(self, flags: int, length: int) -> str:
        self._continuations += 1
        self._block += length
        if self._continuations > self._heads.continuations:
            return "too many CONTINUATION frames"
        if self._block > self._heads.size:
            return "a head over its limit"
        if length or flags & END_HEADERS:
            self._empty = 0
            return ""
        return self._count_empty()

    def _count_control(self, kind: int, flags: int, length: int) -> str:
        if flags & ACK and kind == SETTINGS:
            if length:
                self.code = FRAME_SIZE_ERROR
                return "an acknowledgement that says more"
            return ""
        if kind == SETTINGS and length > ENTRIES * 6:
            return "too many settings"
        now = self._clock()
        self._controls += (now - self._controls_at) * RATE
        self._controls, self._controls_at = min(self._controls, BURST) - 1, now
        return "" if self._controls >= 0 else "too many PING or SETTINGS frames"

    def _count_empty(self) -> str:
        self._empty += 1
        return "" if self._empty <= EMPTY else "empty frames that end nothing"


def _depends_on_itself(
    data: bytes, position: int, kind: int, flags: int, length: int, stream: int
) -> bool:
    """Whether a priority is nonsense (RFC 7540, 5.3.1), which libraries may ignore."""
    start = position + 9 + (kind == HEADERS and bool(flags & PADDED))
    if length < 5:
        return False
    return stream == int.from_bytes(data[start : start + 4], "big") & 0x7FFFFFFF
