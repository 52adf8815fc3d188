"""Chains as they run: built from their settings, timed and blamed by filter.

A ``Running`` is one filter's instance and what it keeps going; a ``Pipeline`` is one
chain around its innermost service. A new configuration makes new pipelines that share
the running filters whose name and settings are the same, so their state lives on.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import attrs

from meshfilters.api import Filter, Service, chain
from meshfilters.counters import Metrics
from meshfilters.errors import FilterFailed, MeshError
from meshfilters.message import Request, Response
from proxy.config.model import Level, Placed

A = TypeVar("A")
B = TypeVar("B")

log = logging.getLogger("tulle.filters")

PROXY, FORWARD = "proxy", "forward"
"""Who an error is ``by`` when no filter raised it: our client's side, our upstream's."""


OURS = tuple(
    str(Path(__file__).parents[2] / package) + os.sep
    for package in ("meshfilters", "proxy")
)
"""Where our own code is."""


class Blame:
    """Logs and counts what foreign code raised; the traffic goes on."""

    def __init__(self, metrics: Metrics) -> None:
        self._failures = metrics.counter(
            "tulle_filter_failures_total",
            "Bugs: exceptions of filters, their callbacks and tasks, that are no answer.",
            ("filter", "error"),
        )

    def __call__(self, owner: str, error: Exception) -> None:
        """One line a failure: the filter, the error, and the place it came from.

        At the level debug its traceback follows.
        """
        self._failures.add((owner, type(error).__name__))
        log.error(
            "filter failed filter=%s error=%s detail=%r%s",
            owner,
            type(error).__name__,
            str(error),
            _place(error),
            exc_info=error if log.isEnabledFor(logging.DEBUG) else None,
        )


def _place(error: Exception) -> str:
    """Where it came from: a line of the filter's sooner than one of ours it called."""
    innermost = foreign = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        innermost = f" at={file}:{trace.tb_lineno}"
        if not file.startswith(OURS):
            foreign = innermost
        trace = trace.tb_next
    return foreign or innermost


@attrs.define
class Tally:
    """What the filters of one name have cost in this worker."""

    calls: int = 0
    seconds: float = 0.0
    """Wall seconds of their own, up to the head of the response."""
    errors: int = 0
    """MeshErrors they raised: their answers, not their bugs."""


class Tallies:
    """Every tally of a worker, by level and name; they outlive their chains."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[Level, str], Tally] = {}

    def of(self, level: Level, name: str) -> Tally:
        """The tally of a name, made at the first call."""
        return self._tallies.setdefault((level, name), Tally())

    def collect(self, metrics: Metrics) -> None:
        """Bring the counters up to date."""
        labels = ("level", "filter")
        calls = metrics.counter(
            "tulle_filter_calls_total", "Calls of a filter.", labels
        )
        seconds = metrics.counter(
            "tulle_filter_seconds_total",
            "Wall seconds of a filter's own, up to the head of the response.",
            labels,
        )
        errors = metrics.counter(
            "tulle_filter_errors_total", "Errors a filter answered with.", labels
        )
        for key, tally in self._tallies.items():
            calls.series(key)[0] = tally.calls
            seconds.series(key)[0] = tally.seconds
            errors.series(key)[0] = tally.errors


@attrs.define(eq=False)
class Running(Generic[A, B]):
    """One filter's instance: shared by the pipelines that list it alike."""

    placed: Placed
    filter: Filter[A, B, A, B]
    tally: Tally
    close: Callable[[], None]
    users: int = 0
    """Pipelines that list it."""

    @property
    def name(self) -> str:
        return self.placed.name

    def release(self) -> None:
        """One pipeline less lists it; behind the last one it is closed."""
        self.users -= 1
        if not self.users:
            self.close()


class Pipeline(Generic[A, B]):
    """A chain of running filters around a service, and what it has under way."""

    def __init__(
        self, filters: Sequence[Running[A, B]], service: Service[A, B]
    ) -> None:
        self.filters = filters
        self.service = service
        self.active = 0
        self._is_retired = False

    def adopt(self) -> None:
        """From now on it is in use, and so are its filters, until it is retired."""
        for each in self.filters:
            each.users += 1

    async def counted(self, request: A, /) -> B:
        """The service, for a caller that does not count what it has under way."""
        self.active += 1
        try:
            return await self.service(request)
        finally:
            self.leave()

    def leave(self) -> None:
        """One exchange, or connection, is over."""
        self.active -= 1
        if self._is_retired and not self.active:
            self._close()

    def retire(self) -> None:
        """No new ones: close the filters behind the last one under way."""
        self._is_retired = True
        if not self.active:
            self._close()

    def _close(self) -> None:
        # Forgotten, too: whoever comes late must not release them a second time.
        filters, self.filters = self.filters, ()
        for each in filters:
            each.release()

    def __repr__(self) -> str:
        listing = " > ".join(each.name for each in self.filters) or "no filters"
        return f"<Pipeline {listing}: {self.active} active>"


def request_pipeline(
    filters: Sequence[Running[Request, Response]],
    service: Service[Request, Response],
    blame: Blame,
) -> Pipeline[Request, Response]:
    """A pipeline of requests: timed, its errors named, its callbacks owned."""
    for each in reversed(filters):
        service = _timed_request(each, service, blame)
    return Pipeline(filters, service)


def other_pipeline(
    filters: Sequence[Running[A, B]],
    service: Service[A, B],
    blame: Blame,
    is_fit: Callable[[B], bool] = lambda made: True,
) -> Pipeline[A, B]:
    """A pipeline of connections or dials, which have no exchange to time them by.

    ``is_fit`` tells what a filter may return from what is a bug of its.
    """
    timed = [_timed_other(each, blame, is_fit) for each in filters]
    return Pipeline(filters, chain(timed, service))


def _timed_request(
    running: Running[Request, Response],
    inner: Service[Request, Response],
    blame: Blame,
) -> Service[Request, Response]:
    # What `chain` does, with the time taken in the same coroutine: 0.15 µs less.
    outer, tally, name = running.filter, running.tally, running.name
    clock = time.perf_counter

    async def timed(request: Request, /) -> Response:
        exchange = request.exchange
        owner, spent = exchange.owner, exchange.spent
        exchange.owner = name
        exchange.spent = 0.0
        begun = clock()
        try:
            response = await outer(request, inner)
            if type(response) is not Response and not isinstance(response, Response):
                raise TypeError(f"it returned {response!r} and no Response")
            return response
        except MeshError as error:
            _claim(error, running)
            raise
        except Exception as error:
            raise _failure(error, running, blame) from error
        finally:
            seconds = clock() - begun
            own = seconds - exchange.spent
            tally.calls += 1
            tally.seconds += own
            exchange.owner = owner
            exchange.spent = spent + seconds
            if exchange.timings is not None:
                exchange.timings[name] = exchange.timings.get(name, 0.0) + own

    return timed


def is_stream(made: object) -> bool:
    """Whether a dial filter may return it: None and a coroutine are what slips in."""
    return hasattr(made, "receive_some")


def _timed_other(
    running: Running[A, B], blame: Blame, is_fit: Callable[[B], bool]
) -> Filter[A, B, A, B]:
    outer, tally = running.filter, running.tally

    async def timed(request: A, inner: Service[A, B], /) -> B:
        tally.calls += 1
        try:
            made = await outer(request, inner)
            if not is_fit(made):
                raise TypeError(f"it returned {made!r} and no Stream")
            return made
        except MeshError as error:
            _claim(error, running)
            raise
        except Exception as error:
            raise _failure(error, running, blame) from error

    return timed


def _claim(error: MeshError, running: Running[A, B]) -> None:
    """Name the filter that raised the error, if it is not named yet."""
    if error.by is None:
        error.by = running.name
        running.tally.errors += 1


def _failure(error: Exception, running: Running[A, B], blame: Blame) -> FilterFailed:
    """What is no MeshError is a bug of the filter's."""
    blame(running.name, error)
    failed = FilterFailed(f"filter {running.name} raised {type(error).__name__}")
    failed.by = running.name
    return failed
