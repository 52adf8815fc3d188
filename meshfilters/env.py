"""What the runtime lends a filter: numbers, clock, chance, logger, background work.

No filter reaches for a global of any of these, so none needs patching in a test.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from logging import Logger
from random import Random
from typing import Protocol

import attrs

from meshfilters.counters import SECONDS, Counter, Histogram, Metrics
from meshfilters.exchange import Direction

SpanRecord = tuple[object, ...]
"""A finished span as plain values; the fields are ``meshfilters.trace.FIELDS``."""


class Host(Protocol):
    """Who keeps what outlives a call: the worker, or the test kit."""

    def start_soon(self, owner: str, task: Callable[[], Awaitable[None]]) -> None: ...

    def on_close(self, callback: Callable[[], None]) -> None: ...

    def export(self, span: SpanRecord) -> None: ...


@attrs.define(eq=False)
class Env:
    """One filter's view of its worker. ``build`` receives it; keep what you need."""

    filter: str
    """The word that names the filter in the file."""
    listener: str
    """The listener whose chain it stands in; a service's name for a dial filter."""
    direction: Direction
    workers: int
    """How many workers share the traffic: divide a rate by it."""
    clock: Callable[[], float]
    """Seconds that never go back; the base of ``Exchange.started``."""
    time: Callable[[], float]
    """Seconds since 1970, for what people and other systems read."""
    random: Random
    log: Logger
    metrics: Metrics
    host: Host

    def counter(
        self, name: str, *labels: str, help: str = "", bare: bool = False
    ) -> Counter:
        """A counter; its name in Prometheus is ``tulle_<filter>_<name>``.

        ``direction`` is always the first label and filled in. End a name in
        ``_total``. ``bare`` keeps a name as it is, where the field has fixed it.
        """
        return self.metrics.counter(
            self._name(name, bare), help, ("direction", *labels), (self.direction,)
        )

    def histogram(
        self,
        name: str,
        *labels: str,
        help: str = "",
        bare: bool = False,
        buckets: tuple[float, ...] = SECONDS,
    ) -> Histogram:
        """A histogram; named as a counter is. End a name in its unit."""
        fixed = (self.direction,)
        labels = ("direction", *labels)
        return self.metrics.histogram(
            self._name(name, bare), help, labels, fixed, buckets
        )

    def decide(self, name: str) -> None:
        """Count a decision: ``tulle_filter_decisions_total{filter=…,decision=name}``.

        ``name`` is one of a few words of yours, never of the client's.
        """
        self.metrics.counter(
            "tulle_filter_decisions_total",
            "What filters decided.",
            ("direction", "filter", "decision"),
            (self.direction, self.filter),
        ).add((name,))

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run ``task`` in the background for as long as the filter lives.

        An error of its is logged and counted; it is started again with back-off.
        """
        self.host.start_soon(self.filter, task)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called after the last exchange of the filter's chain."""
        self.host.on_close(callback)

    def export(self, span: SpanRecord) -> None:
        """Hand a finished span to the agent. Never waits; drops are counted."""
        self.host.export(span)

    def _name(self, name: str, bare: bool) -> str:
        # A word may have a hyphen or a dot, which Prometheus has not in names.
        word = re.sub(r"[^A-Za-z0-9_]", "_", self.filter)
        return name if bare else f"tulle_{word}_{name}"
