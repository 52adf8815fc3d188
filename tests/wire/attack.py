"""A client that floods, once or again and again, and a good one that goes on meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from types import TracebackType

import attrs
from hyperframe.frame import PingFrame

from tests.wire.client import Address
from tests.wire.floods import TABLE_SIZE, WINDOW_SIZE, Attacker, Flood
from tests.wire.frames import GET, PREFACE, Answer, Frames
from tests.wire.raw import headers, settings, window_update
from tests.wire.running import Running

ENOUGH = 1000
"""Frames; an attacker that is not cut by then has won. All go out as fast as they can."""
TURNS = 25
"""Turns of a flood in one write."""
ATTACKS = 2000
"""Connections of attackers, one behind the other, at the most."""

PAUSE = 0.003
"""Seconds between two requests of the good client."""

LAST = b"the last"

MUCH = b"/much"
ASKS_FOR_MUCH = (*GET[:3], (b":path", MUCH))


@attrs.frozen
class Span:
    """A piece of time."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def overlaps(self, other: Span) -> bool:
        return self.began < other.ended and other.began < self.ended


@attrs.frozen
class Attack:
    """What became of one."""

    span: Span
    """From its first frame until it was told to stop, or all had been heard."""
    frames: int
    code: int | None
    """Of the GOAWAY."""
    has_ended: bool
    """Whether the proxy closed the connection."""


def attack(address: Address, flood: Callable[[Attacker], Flood]) -> Attack:
    """Flood until cut. The greeting is no part of it."""
    frames = 0
    with Frames(address) as client:
        client.wait(lambda: client.received)
        began = time.monotonic()
        for data, count in batches(flood):
            frames += count
            if not client.send(data):
                break
            client.take_soon()
            if client.goaway is not None:
                break
        # All of it may have been sent before the proxy had its turn.
        return cut(client, began, frames)


def cut(client: Frames, began: float, frames: int) -> Attack:
    """Wait for the connection's end, or for the proxy to have heard all of the attack."""
    client.send(PingFrame(0, LAST))
    client.wait(lambda: client.goaway or _is_heard(client))
    ended = time.monotonic()
    if client.goaway is not None:
        client.wait(lambda: client.has_ended)
    code = client.goaway.error_code if client.goaway is not None else None
    return Attack(Span(began, ended), frames, code, client.has_ended)


def _is_heard(client: Frames) -> bool:
    return any(
        isinstance(each, PingFrame) and each.opaque_data == LAST
        for each in client.received
    )


def dribble(address: Address) -> Attack:
    """Ask for much, and take it byte by byte (CVE-2019-9511)."""
    frames = 0
    with Frames(address, greets=False) as client:
        client.send(PREFACE, settings((WINDOW_SIZE, 1)), headers(1, ASKS_FOR_MUCH))
        began = time.monotonic()
        answer = client.answers[1] = Answer()
        while frames < ENOUGH and client.goaway is None:
            before = len(answer.data)
            client.wait(lambda: client.goaway or len(answer.data) > before)  # noqa: B023
            client.send(window_update(1, 1))
            frames += 1
        return cut(client, began, frames)


def flip(address: Address) -> Attack:
    """Change the size of the table again and again in front of each request, and wait for
    its answer, which has to tell of the changes."""
    flips = settings(*[(TABLE_SIZE, 0), (TABLE_SIZE, 4096)] * 16)
    with Frames(address) as client:
        began = time.monotonic()
        for stream in range(1, 200, 2):
            client.send(flips)
            assert client.ask(stream).status == 200
        return cut(client, began, 200)


@cache
def batches(flood: Callable[[Attacker], Flood]) -> Sequence[tuple[bytes, int]]:
    """A flood's bytes, a write's worth each, and of how many frames they are.

    They are the same on every connection: each begins with an empty table.
    """
    attacker = Attacker()
    made: list[tuple[bytes, int]] = []
    left = ENOUGH
    while left > 0:
        frames = [frame for _ in range(TURNS) for frame in flood(attacker)][:left]
        data = b"".join(f if isinstance(f, bytes) else f.serialize() for f in frames)
        made.append((data, len(frames)))
        left -= len(frames)
    return made


class Attackers:
    """One attack behind the other, in a thread, while the block lasts."""

    def __init__(self, attack: Callable[[], Attack]) -> None:
        self.attacks: list[Attack] = []
        self.error: Exception | None = None
        self._attack = attack
        self._ends = threading.Event()
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Attackers:
        self._thread.start()
        self._first.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ends.is_set() and len(self.attacks) < ATTACKS:
                self.attacks.append(self._attack())
                self._first.set()
        except (AssertionError, OSError) as error:
            self.error = error
        finally:
            self._first.set()


@attrs.frozen
class Asked:
    """What a good client went through."""

    spans: Sequence[Span]
    statuses: set[int | None]
    worked: Sequence[float]
    """CPU seconds that the proxy spent, on whatever, while each answer was waited for."""

    @property
    def p95(self) -> float:
        """What it had to wait behind, in CPU seconds of the proxy.

        It is the proxy's part of a latency: what else the machine does, and the test's own
        clients, are not in it.
        """
        return sorted(self.worked)[-1 - len(self.worked) // 20]


def ask(proxy: Running, count: int) -> Asked:
    """Ask one thing after the other, on one connection."""
    spans: list[Span] = []
    statuses: set[int | None] = set()
    worked: list[float] = []
    (address,) = proxy.addresses
    with Frames(address) as client:
        for number in range(count):
            before, began = proxy.worked(), time.monotonic()
            statuses.add(client.ask(2 * number + 1).status)
            spans.append(Span(began, time.monotonic()))
            worked.append(proxy.worked() - before)
            time.sleep(PAUSE)
    return Asked(spans, statuses, worked)
