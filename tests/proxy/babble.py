"""What an HTTP/2 peer may send, made up from a seed: in order, out of it, cut anywhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import trio
from trio.testing import MockClock

from tests.wire.raw import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PRIORITY,
    PUSH_PROMISE,
    SETTINGS,
    UNKNOWN,
    Field,
    block,
    data,
    frame,
    goaway,
    headers,
    ping,
    priority,
    reset,
    settings,
    window_update,
)

PATHS = [b"/ok", b"/read", b"/echo", b"/wait", b"/long", b"/fail", b"/trailers"]
ODD_FIELDS: list[Field] = [
    (b"content-length", b"3"),
    (b"content-length", b"x"),
    (b"cookie", b"a=b"),
    (b"expect", b"100-continue"),
    (b"content-type", b"application/grpc"),
    (b"grpc-timeout", b"1S"),
    (b"te", b"trailers"),
    (b"te", b"x"),
    (b"host", b"other"),
    (b"connection", b"close"),
    (b"transfer-encoding", b"chunked"),
    (b"x_y", b"disguised"),
    (b"X", b"upper-case"),
    (b":path", b"/late"),
    (b"", b""),
]
SIZES = [0, 1, 3, 100, 5_000, 16_384]
WINDOWS = [0, 1, 100, 65_535, 2**31 - 1, 2**32 - 1]
READS = [1, 9, 20, 200, 5_000, 70_000, 1_000_000]


def run_seeds(one: Callable[[int], Awaitable[int]], count: int) -> int:
    """Run ``one`` with each seed, in a loop of its own; the sum of what they return."""
    total = 0
    for seed in range(count):
        try:
            total += trio.run(one, seed, clock=MockClock(autojump_threshold=0))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    return total


class Babble:
    """One peer's frames. A client ``opens`` streams; a server answers the first few."""

    def __init__(self, random: Random, *, opens: bool) -> None:
        self._random = random
        self._opens = opens
        self._disorder = random.choice([0, 0, 0.03, 0.3, 1])
        self._next = 1
        self._open = [] if opens else [1, 3, 5, 7]

    def pieces(self, count: int) -> list[bytes]:
        """So many frames, as the reads that they come in."""
        sent = b"".join(self._one() for _ in range(count))
        pieces = []
        while sent:
            size = self._random.choice(READS)
            pieces.append(sent[:size])
            sent = sent[size:]
        return pieces

    def _one(self) -> bytes:
        if self._random.random() < self._disorder:
            return self._disorderly()
        return self._orderly()

    # What a peer may send

    def _orderly(self) -> bytes:
        random = self._random
        if not self._open or random.random() < 0.45:
            return self._request() if self._opens else self._response()
        stream = random.choice(self._open)
        kind = random.choice("ddddddtrwwspg" if random.random() < 0.2 else "ddt")
        if kind == "d":
            is_end = random.random() < 0.3
            if is_end:
                self._open.remove(stream)
            return data(stream, b"d" * random.choice(SIZES[1:]), is_end)
        if kind == "t":
            self._open.remove(stream)
            return headers(stream, [(b"x-sum", b"1")])
        if kind == "r":
            self._open.remove(stream)
            return reset(stream, random.choice([0, 2, 7, 8]))
        if kind == "w":
            return window_update(random.choice([0, stream]), 65_535)
        if kind == "s":
            return settings((random.choice([3, 4]), random.choice([1, 100, 65_535])))
        return ping() if kind == "p" else goaway(random.choice([1, 2**31 - 1]))

    def _request(self) -> bytes:
        stream, self._next = self._next, self._next + 2
        fields = self._request_fields()
        has_body = fields[0][1] != b"GET"
        if has_body:
            self._open.append(stream)
        return headers(stream, fields, END_HEADERS | (not has_body))

    def _request_fields(self) -> list[Field]:
        method = self._random.choice([b"GET", b"GET", b"POST", b"POST", b"CONNECT"])
        path = (b":path", self._random.choice(PATHS))
        rest = [(b":scheme", b"http"), (b":authority", b"app"), path]
        if method == b"CONNECT":
            rest = [(b":protocol", b"websocket"), *rest]
        return [(b":method", method), *rest]

    def _response(self) -> bytes:
        stream = self._random.choice(self._open or [9])
        status = self._random.choice([b"200", b"200", b"204", b"304", b"503", b"103"])
        is_end = status != b"103" and self._random.random() < 0.3
        if is_end and stream in self._open:
            self._open.remove(stream)
        return headers(stream, [(b":status", status)], END_HEADERS | is_end)

    # What it may not

    def _disorderly(self) -> bytes:
        random = self._random
        kinds: list[Callable[[], bytes]] = [
            self._head,
            self._head,
            self._head,
            lambda: data(
                self._any(), b"d" * random.choice(SIZES), random.choice([0, 1])
            ),
            lambda: data(self._any(), b"d" * 16_385),
            lambda: reset(self._any(), random.choice([0, 1, 2, 7, 8, 11, 13, 99])),
            lambda: window_update(self._any(), random.choice(WINDOWS[:-1])),
            lambda: settings(
                *[self._setting() for _ in range(random.choice([0, 1, 3]))]
            ),
            lambda: frame(SETTINGS, ACK, 0),
            lambda: ping(flags=random.choice([0, ACK])),
            lambda: goaway(random.choice([0, 1, 3, 2**31 - 1]), random.choice([0, 11])),
            lambda: frame(PRIORITY, 0, self._any(), priority(random.choice([0, 1, 3]))),
            lambda: frame(UNKNOWN, random.randrange(256), self._any(), b"u"),
            lambda: frame(PUSH_PROMISE, END_HEADERS, self._any(), b"\0\0\0\2"),
            lambda: frame(random.randrange(10), random.randrange(256), 1, b"p" * 5),
            lambda: random.randbytes(random.choice([3, 9, 30])),
        ]
        return random.choice(kinds)()

    def _any(self) -> int:
        return self._random.choice([0, 1, 2, 3, self._next, self._next + 8, 2**31 - 1])

    def _setting(self) -> tuple[int, int]:
        known = [1, 2, 3, 4, 5, 6, 8, 9, 77]
        return self._random.choice(known), self._random.choice(WINDOWS)

    def _head(self) -> bytes:
        """A head with something wrong or much in it, perhaps in pieces."""
        random = self._random
        status = (b":status", random.choice([b"200", b"101", b"99", b"abc"]))
        fields = self._request_fields() if self._opens else [status]
        fields += random.sample(ODD_FIELDS, random.choice([0, 1, 1, 2]))
        if random.random() < 0.1:
            count = random.choice([90, 101, 1001])
            fields += [(b"x-%d" % number, b"y") for number in range(count)]
        if random.random() < 0.1:
            fields.append((b"large", b"z" * random.choice([5_000, 61_000, 140_000])))
        if random.random() < 0.1:
            random.shuffle(fields)
        packed = block(fields)
        size = random.choice([5, 16_384]) if len(packed) < 40 else 16_384
        parts = [packed[at : at + size] for at in range(0, len(packed), size)]
        stream, self._next = self._next, self._next + 2
        end = random.choice([0, END_STREAM])
        is_one = len(parts) == 1
        sent = frame(HEADERS, end | END_HEADERS * is_one, stream, parts.pop(0))
        while parts:
            part = parts.pop(0)
            sent += frame(CONTINUATION, END_HEADERS * (not parts), stream, part)
        return sent
