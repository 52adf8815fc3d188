"""How many retries are affordable: a share of the requests of the last seconds.

Retries multiply load just when a service has too much of it. With a budget they add
at most ``ratio`` to it, however many clients ask (Finagle, Linkerd: 20 % + 10/s).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs
from attrs.validators import ge, gt

SLOTS = 10
"""Parts of the window that are forgotten one by one (tower and Finagle: 10)."""


@attrs.frozen
class BudgetSize:
    """Retries allowed: a share of recent requests, and a few whatever their number."""

    ratio: float = attrs.field(default=0.2, validator=ge(0.0))
    """Retries for each request."""
    min_per_second: float = attrs.field(default=10.0, validator=ge(0.0))
    """Retries allowed when there are few requests; shared out over the workers."""
    window: float = attrs.field(default=10.0, validator=gt(0.0))
    """Seconds for which requests and retries are remembered."""


class Budget:
    """Counts requests and retries of the last ``window`` seconds, and says no.

    Invariant: every retry counted was affordable when it was withdrawn.
    """

    def __init__(
        self, size: BudgetSize, clock: Callable[[], float], workers: int = 1
    ) -> None:
        self._size = size
        self._clock = clock
        self._reserve = size.min_per_second * size.window / workers
        self._step = size.window / SLOTS
        # Whole numbers, multiplied once: sums of 0.1 would drift below their retry.
        self._requests = 0
        self._retries = 0
        self._past = deque([(0, 0)] * (SLOTS - 1))
        self._turn = clock() + self._step

    def deposit(self) -> None:
        """A request came that is not a retry."""
        if self._clock() >= self._turn:
            self._forget()
        self._requests += 1

    def withdraw(self) -> bool:
        """Take one retry out of the budget; False if it is not affordable."""
        if self.left < 1:
            return False
        self._retries += 1
        return True

    @property
    def left(self) -> float:
        """Retries affordable now."""
        requests, retries = self._sums()
        return self._reserve + self._size.ratio * requests - retries

    def _sums(self) -> tuple[int, int]:
        self._forget()
        requests = self._requests + sum(each for each, _ in self._past)
        return requests, self._retries + sum(each for _, each in self._past)

    def _forget(self) -> None:
        """Turn over the slots whose time has come; after a pause, all of them."""
        late = self._clock() - self._turn
        if late < 0:
            return
        turns = int(late / self._step) + 1
        for _ in range(min(turns, SLOTS)):
            self._past.popleft()
            self._past.append((self._requests, self._retries))
            self._requests = self._retries = 0
        self._turn += turns * self._step

    def __repr__(self) -> str:
        requests, retries = self._sums()
        return (
            f"<Budget {self.left:g} left: {retries} retries for {requests} requests "
            f"in {self._size.window:g} s>"
        )
