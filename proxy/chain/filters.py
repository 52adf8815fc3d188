"""Running filters: built once for each place, kept while name and settings stay."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, cast

import attrs
import trio

from meshfilters.api import Filter
from meshfilters.counters import Metrics
from meshfilters.env import Env, SpanRecord
from meshfilters.errors import ConfigError
from meshfilters.exchange import Direction
from proxy.chain.pipeline import Blame, Running, Tallies
from proxy.config.model import Level, Placed

BACK_OFF, LONGEST_BACK_OFF = 1.0, 60.0
"""Seconds before a background task that failed is started again."""

ASKED: Mapping[Level, str] = {
    "connection": "connection",
    "request": "request",
    "dial": "endpoint",
}
"""What a filter of each level is called with, beside ``inner``."""

Place = tuple[Level, str, str, int]
"""Level, listener or service, filter, and which of that name it is there."""


class Filters:
    """Every running filter of one worker."""

    def __init__(
        self,
        metrics: Metrics,
        tallies: Tallies,
        blame: Blame,
        random: Random,
        export: Callable[[SpanRecord], None],
        workers: int,
    ) -> None:
        self._metrics = metrics
        self._tallies = tallies
        self._blame = blame
        self._random = random
        self._export = export
        self._workers = workers
        self._nursery: trio.Nursery | None = None
        self._standing: dict[Place, Running[Any, Any]] = {}
        self._built: dict[Place, Running[Any, Any]] = {}

    def start(self, nursery: trio.Nursery) -> None:
        """From now on filters can be built: their background work runs in ``nursery``."""
        self._nursery = nursery

    @contextmanager
    def building(self) -> Iterator[None]:
        """Build a configuration's filters inside; all of them stand, or none does."""
        self._built = {}
        try:
            yield
        except BaseException:
            for place, running in self._built.items():
                if self._standing.get(place) is not running:
                    running.close()
            raise
        self._standing = self._built

    def running(
        self, level: Level, where: str, direction: Direction, placed: Sequence[Placed]
    ) -> list[Running[Any, Any]]:
        """The filters of one chain. Raises ConfigError when one can't be built."""
        return [
            self._one((level, where, each.name, nth), direction, each)
            for nth, each in _numbered(placed)
        ]

    def _one(
        self, place: Place, direction: Direction, placed: Placed
    ) -> Running[Any, Any]:
        standing = self._standing.get(place)
        if standing is None or standing.placed != placed:
            standing = self._build(place, direction, placed)
        self._built[place] = standing
        return standing

    def _build(
        self, place: Place, direction: Direction, placed: Placed
    ) -> Running[Any, Any]:
        assert self._nursery is not None
        level, where, name, _ = place
        host = FilterHost(name, self._nursery, self._blame, self._export)
        env = Env(
            filter=name,
            listener=where,
            direction=direction,
            workers=self._workers,
            clock=time.monotonic,
            time=time.time,
            random=self._random,
            log=logging.getLogger(f"tulle.filter.{name}"),
            metrics=self._metrics,
            host=host,
        )
        try:
            built = placed.settings.build(env)
            if reason := _unfit(built, level):
                raise ConfigError(f"{where}: filter {name} cannot be built: {reason}")
        except ConfigError:
            host.close()
            raise
        except Exception as error:
            host.close()
            self._blame(name, error)
            sentence = f"{where}: filter {name} cannot be built: {error!r}"
            raise ConfigError(sentence) from error
        tally = self._tallies.of(level, name)
        return Running(
            placed, cast(Filter[Any, Any, Any, Any], built), tally, host.close
        )

    def close(self) -> None:
        """Close every filter that stands; the worker is ending."""
        for running in self._standing.values():
            running.close()
        self._standing = {}


@attrs.define(eq=False)
class FilterHost:
    """What one running filter keeps going; the ``host`` of its Env."""

    name: str
    nursery: trio.Nursery
    blame: Blame
    send: Callable[[SpanRecord], None]
    callbacks: list[Callable[[], None]] = attrs.field(factory=list)
    scopes: set[trio.CancelScope] = attrs.field(factory=set)
    is_closed: bool = False

    def start_soon(self, owner: str, task: Callable[[], Awaitable[None]]) -> None:
        if self.is_closed:
            return  # nothing would ever end it
        scope = trio.CancelScope()
        self.scopes.add(scope)
        self.nursery.start_soon(self._keep_going, task, scope)

    def on_close(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def export(self, span: SpanRecord) -> None:
        self.send(span)

    async def _keep_going(
        self, task: Callable[[], Awaitable[None]], scope: trio.CancelScope
    ) -> None:
        delay = BACK_OFF
        try:
            with scope:
                while True:
                    try:
                        await task()
                        return
                    except Exception as error:
                        self.blame(self.name, error)
                    await trio.sleep(delay)
                    delay = min(LONGEST_BACK_OFF, delay * 2)
        finally:
            self.scopes.discard(scope)

    def close(self) -> None:
        """End its tasks and call its callbacks. Idempotent."""
        self.is_closed = True
        for scope in self.scopes:
            scope.cancel()
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception as error:
                self.blame(self.name, error)


def _unfit(built: object, level: Level) -> str:
    """Say why a chain could not call what ``build`` returned; empty if it can."""
    wanted = f"an async function of ({ASKED[level]}, inner)"
    if inspect.iscoroutine(built):
        built.close()
        return "build is async; expected a plain function that returns " + wanted
    if not callable(built):
        return f"build returned {built!r}; expected {wanted}"
    try:
        inspect.signature(built).bind(None, None)
    except TypeError as error:
        return f"build returned {built!r}; expected {wanted}: {error}"
    except ValueError:
        pass  # compiled code may not tell
    return ""


def _numbered(placed: Sequence[Placed]) -> Iterator[tuple[int, Placed]]:
    seen: dict[str, int] = {}
    for each in placed:
        nth = seen.get(each.name, 0)
        seen[each.name] = nth + 1
        yield nth, each
