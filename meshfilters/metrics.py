"""``metrics``: every request counted once, when it is over, under Linkerd's names.

Labels are never the client's to choose: services by their name in the configuration,
identities proven with a certificate, statuses, and the closed set of error reasons.
An exchange is counted under the service that was asked for; ``route_actual_…`` counts
each attempt under the service and identity it went to (outbound, as Linkerd has it).
Of gRPC there are series by service and method too, for those that are listed.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import ClassVar

import attrs

from meshfilters.api import RequestFilter, Service
from meshfilters.counters import SERIES_CAP, Labels
from meshfilters.env import Env
from meshfilters.errors import MeshError
from meshfilters.exchange import Attempt, Outcome
from meshfilters.grpc import is_grpc
from meshfilters.grpc_calls import Calls, check_methods
from meshfilters.message import Request, Response

MILLISECONDS = tuple(
    float(digit * scale) for scale in (1, 10, 100, 1000, 10000) for digit in range(1, 6)
)
"""Buckets of ``response_latency_ms`` (linkerd/metrics/src/latency.rs)."""


@attrs.frozen
class Metrics:
    """Count every request once, when it is over: how many, how they ended, how long."""

    outside: ClassVar[dict[str, str]] = {
        "timeout": "a request that timed out is still counted",
        "retry": "a request is counted once, not once for each attempt",
    }

    grpc: dict[str, frozenset[str]] = attrs.field(factory=dict, validator=check_methods)
    """Methods to count by name: those of each service, ``{shop.Cart: [Get, Add]}``. Others
    are ``other``; without any, gRPC is counted as all requests are and no more."""

    def build(self, env: Env) -> RequestFilter:
        calls = Calls(env, self.grpc) if self.grpc else None
        build = _outbound if env.direction == "outbound" else _inbound
        return build(env, calls)


def _outbound(env: Env, calls: Calls | None) -> RequestFilter:
    exchanges = _Exchanges(env, "dst", "server_id")
    sent = _Answers(env, "route_actual_", "dst", "server_id")

    async def metrics(
        request: Request, inner: Service[Request, Response], /
    ) -> Response:
        # The list and not the exchange: a callback that held its exchange would
        # make a cycle, and every request work for the garbage collector.
        attempts = request.exchange.attempts
        destination = request.destination

        def record(outcome: Outcome) -> None:
            server = attempts[-1].identity or "" if attempts else ""
            exchanges.end((destination, server), outcome)
            for attempt in attempts:
                ended = outcome if attempt is attempts[-1] else None
                sent.count(*_ended(attempt, ended))

        request.exchange.on_end(record)
        if calls is not None and is_grpc(request):
            calls.watch(request)
        return await inner(request)

    return metrics


def _inbound(env: Env, calls: Calls | None) -> RequestFilter:
    exchanges = _Exchanges(env, "dst", "tls", "client_id")

    async def metrics(
        request: Request, inner: Service[Request, Response], /
    ) -> Response:
        connection = request.exchange.connection
        tls = "no_identity" if connection.tls is None else "true"
        who = request.destination, tls, connection.identity or ""

        def record(outcome: Outcome) -> None:
            exchanges.end(who, outcome)

        request.exchange.on_end(record)
        if calls is not None and is_grpc(request):
            calls.watch(request)
        return await inner(request)

    return metrics


Ended = tuple[tuple[str, ...], int | None, str | None, int | None]
"""Who was asked, the status, the reason of the error, gRPC's status."""


def _ended(
    attempt: Attempt, outcome: Outcome | None
) -> tuple[tuple[str, ...], int | None, MeshError | None, int | None]:
    """How an attempt ended; ``outcome`` is its exchange's, if it was the last one."""
    who = attempt.endpoint.service, attempt.identity or ""
    status, error = attempt.status, attempt.error
    if outcome is None or error is not None or attempt.grpc_status is not None:
        # The last one too has a status noted if it was dropped, for a try that never was.
        return who, status, error, attempt.grpc_status
    if status is None or status == outcome.status:
        # It was under way when the exchange failed, or carried the answer.
        return who, status, outcome.error, outcome.grpc_status
    return who, status, None, attempt.grpc_status


class _Answers:
    """How many requests, and how they ended."""

    def __init__(self, env: Env, prefix: str, *who: str) -> None:
        what = "Attempts at upstreams" if prefix else "Requests"
        self._requests = env.counter(
            f"{prefix}request_total",
            *who,
            help=f"{what}, counted at the end.",
            bare=True,
        )
        self._responses = env.counter(
            f"{prefix}response_total",
            *who,
            *("status_code", "classification", "grpc_status", "error"),
            help=f"How {what.lower()} ended.",
            bare=True,
        )
        # Few ways to end differ: each is looked up once, and its numbers kept.
        self._ways: dict[Ended, _Way] = {}

    def count(
        self,
        who: tuple[str, ...],
        status: int | None,
        error: MeshError | None,
        grpc_status: int | None,
    ) -> _Way:
        way = who, status, None if error is None else error.reason, grpc_status
        found = self._ways.get(way) or self._new(way)
        found.requests[0] += 1
        found.responses[0] += 1
        return found

    def _new(self, way: Ended) -> _Way:
        found = self._way(way)
        if len(self._ways) < SERIES_CAP:
            self._ways[way] = found
        return found

    def _way(self, way: Ended) -> _Way:
        return _Way(self._requests.series(way[0]), self._responses.series(_labels(way)))


class _Exchanges(_Answers):
    """What clients asked, whatever it took to answer it."""

    def __init__(self, env: Env, *who: str) -> None:
        super().__init__(env, "", *who)
        self._latency = env.histogram(
            "response_latency_ms",
            *who,
            "status_code",
            help="From a request's head to the last byte of its response.",
            bare=True,
            buckets=MILLISECONDS,
        )
        self._received = env.counter(
            "request_body_bytes_total", *who, help="Body bytes clients sent."
        )
        self._sent = env.counter(
            "response_body_bytes_total", *who, help="Body bytes clients were sent."
        )

    def end(self, who: tuple[str, ...], end: Outcome) -> None:
        way = self.count(who, end.status, end.error, end.grpc_status)
        milliseconds = end.seconds * 1000
        way.latency[bisect_left(MILLISECONDS, milliseconds)] += 1
        way.latency[-1] += milliseconds
        if end.received:
            self._received.add(who, end.received)
        if end.sent:
            self._sent.add(who, end.sent)

    def _way(self, way: Ended) -> _Way:
        who, status = way[0], way[1]
        found = super()._way(way)
        found.latency = self._latency.series((*who, "" if status is None else status))
        return found


@attrs.define(eq=False)
class _Way:
    """The numbers of one way to end."""

    requests: list[float]
    responses: list[float]
    latency: list[float] = attrs.field(factory=list)


def _labels(way: Ended) -> Labels:
    who, status, reason, grpc_status = way
    error = None if reason is None else MeshError(reason)
    end = Outcome(status, error, grpc_status=grpc_status)
    return (
        *who,
        "" if status is None else status,
        "success" if end.is_success else "failure",
        "" if grpc_status is None else grpc_status,
        reason or "",
    )
