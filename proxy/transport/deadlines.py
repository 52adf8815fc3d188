"""One timer for everything a worker limits, because a cancel scope costs 9 µs.

A ``Timer``'s deadline may be moved as often as its owner likes for the price of an
assignment: the wheel looks at it where it was first expected and, if it has moved on,
looks again where it is now. Only a deadline brought forward is entered anew.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import trio

RESOLUTION = 1 / 128
"""Seconds a deadline may be overrun by; a power of two, so that slots are exact."""


class Timer:
    """A deadline of its owner's; ``expire`` is called when it has passed."""

    __slots__ = ("_looked_at", "_wheel", "deadline", "expire")

    def __init__(self, wheel: Deadlines, expire: Callable[[], None]) -> None:
        self._wheel = wheel
        self.expire: Callable[[], None] | None = expire
        self.deadline = math.inf
        self._looked_at = math.inf

    def set(self, deadline: float) -> None:
        """Expire at ``deadline`` on the wheel's clock, and not before."""
        self.deadline = deadline
        if deadline < self._looked_at:
            self._looked_at = self._wheel.enter(self, deadline)

    def close(self) -> None:
        """Never expire, and let go of the owner."""
        self.deadline = math.inf
        self.expire = None

    def look(self, now: float, expected: float) -> None:
        """Called by the wheel, at the time the timer was entered for."""
        if expected != self._looked_at:
            return
        self._looked_at = math.inf
        if self.deadline > now:
            if self.deadline != math.inf:
                self.set(self.deadline)
        elif self.expire is not None:
            self.deadline = math.inf
            self.expire()


class Deadlines:
    """The timers of one worker; ``run`` must be running for any to expire."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._slots: dict[int, list[Timer]] = {}
        self._order: list[int] = []
        self._sooner = trio.Event()

    def timer(self, expire: Callable[[], None]) -> Timer:
        """A timer that is not set yet."""
        return Timer(self, expire)

    def enter(self, timer: Timer, deadline: float) -> float:
        """Called by a timer: look at it at the returned time, just after ``deadline``."""
        slot = math.ceil(deadline / RESOLUTION)
        timers = self._slots.get(slot)
        if timers is None:
            self._slots[slot] = [timer]
            heapq.heappush(self._order, slot)
            if self._order[0] == slot:
                self._sooner.set()
        else:
            timers.append(timer)
        return slot * RESOLUTION

    async def run(self) -> None:
        """Expire what is due, for ever."""
        while True:
            if not self._order:
                await self._sooner.wait()
            self._sooner = trio.Event()
            delay = self._order[0] * RESOLUTION - self.clock()
            if delay > 0:
                with trio.move_on_after(delay):
                    await self._sooner.wait()
                continue
            slot = heapq.heappop(self._order)
            expected = slot * RESOLUTION
            for timer in self._slots.pop(slot):
                timer.look(expected, expected)
            await trio.lowlevel.checkpoint()

    def __repr__(self) -> str:
        waiting = sum(map(len, self._slots.values()))
        return f"<Deadlines {waiting} timers in {len(self._slots)} slots>"
