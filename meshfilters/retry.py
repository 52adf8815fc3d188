"""``retry``: failed requests sent again, where that is safe and affordable."""

from __future__ import annotations

from collections.abc import Coroutine

import attrs
import trio
from attrs.validators import deep_iterable, ge, gt, le, matches_re, optional

from meshfilters.api import RequestFilter, Service
from meshfilters.backoff import BackOff, retry_after
from meshfilters.budget import Budget, BudgetSize
from meshfilters.env import Env
from meshfilters.errors import UpstreamError
from meshfilters.exchange import GRPC_FAILURES, Exchange
from meshfilters.grpc import CODES, Failure, is_grpc, pushback, status_of
from meshfilters.message import IDEMPOTENT, Body, Buffered, Request, Response
from meshfilters.replay import Replay


@attrs.frozen
class Retry:
    """Send a failed request again, as often as ``retries`` and the budget allow.

    Tried again is what failed on the upstream's side: with one of ``statuses``, or
    without a response. Once a response is handed on there is no way back. A method that
    is not in ``methods`` is sent again only if nothing of it had been sent: list POST if
    your services take it twice. gRPC is all POST; it is sent again after the statuses in
    ``grpc`` as well. The body is kept as it streams past, up to ``keep`` bytes; a longer
    one is sent all the same, but not again. The budget is each worker's own. A server
    that asks to wait longer than ``back_off.max``, or than the exchange's ``request``
    limit leaves, is not asked again.
    """

    retries: int = attrs.field(default=2, validator=[ge(1), le(100)])
    """Tries after the first."""
    statuses: frozenset[int] = attrs.field(
        default=frozenset({502, 503, 504}), validator=deep_iterable([ge(400), le(599)])
    )
    methods: frozenset[str] = attrs.field(
        default=frozenset(method.decode() for method in IDEMPOTENT),
        validator=deep_iterable(matches_re(r"[A-Z-]+")),
    )
    """What may be sent twice; RFC 9110's idempotent methods."""
    grpc: frozenset[Failure] = frozenset()
    """Statuses after which a gRPC request may be sent twice, ``unavailable`` say. A failure
    on the way is the status that it becomes; a response with messages is not looked at."""
    attempt_timeout: float | None = attrs.field(
        default=None, validator=optional(gt(0.0))
    )
    """Seconds until a try without the head of a response is given up."""
    keep: int = attrs.field(default=64 * 1024, validator=ge(0))
    """Bytes of a request's body kept to be sent again (Linkerd: 64 KiB)."""
    budget: BudgetSize = attrs.field(factory=BudgetSize)
    back_off: BackOff = attrs.field(factory=BackOff)

    def build(self, env: Env) -> RequestFilter:
        return _Retrying(self, env)


class _Retrying:
    """One worker's running filter: the settings, the budget and the counters."""

    def __init__(self, settings: Retry, env: Env) -> None:
        self.budget = Budget(settings.budget, env.clock, env.workers)
        self._settings = settings
        self._statuses = settings.statuses
        self._attempt_timeout = settings.attempt_timeout
        self._env = env
        self._methods = frozenset(method.encode() for method in settings.methods)
        self._codes = frozenset(CODES[name] for name in settings.grpc)
        self._retried = env.counter(
            "retries_total", "dst", help="Requests sent again, each time counted."
        )
        self._rescued = env.counter(
            "successes_total", "dst", help="Requests that succeeded after a retry."
        )
        self._refused = env.counter(
            "budget_refusals_total", "dst", help="Retries that the budget refused."
        )

    def __call__(
        self, request: Request, inner: Service[Request, Response], /
    ) -> Coroutine[object, object, Response]:
        self.budget.deposit()
        if self._attempt_timeout is not None:
            request.exchange.lower(attempt=self._attempt_timeout)
        # What filters inside do to the first try's request is not done to the next.
        original = request.with_(headers=request.headers.copy())
        body = request.body
        if type(body) is Buffered and body.is_whole:
            return self._try(request, original, inner, None)
        return self._try_replayed(request, original, inner)

    async def _try_replayed(
        self, request: Request, original: Request, inner: Service[Request, Response]
    ) -> Response:
        replay = Replay(request.body, self._settings.keep)
        try:
            first = request.with_(body=replay.start())
            return await self._try(first, original, inner, replay)
        finally:
            await replay.release()

    async def _try(
        self,
        request: Request,
        original: Request,
        inner: Service[Request, Response],
        replay: Replay | None,
    ) -> Response:
        statuses, codes = self._statuses, self._codes
        retries = 0
        while True:
            try:
                response = await inner(request)
            except UpstreamError as error:
                pause = self._pause(original, replay, retries, error)
                if pause is None:
                    raise
            else:
                is_listed = codes and self._is_listed(original, response)
                if not is_listed and response.status not in statuses:
                    if retries and _is_success(original, response):
                        self._rescued.add((original.destination,))
                    return response
                pause = self._pause(original, replay, retries, response)
                if pause is None:
                    return response
                if replay is not None:
                    replay.cut()
                _note(original, response)
                await response.body.aclose()
            await trio.sleep(pause)
            self._retried.add((original.destination,))
            retries += 1
            headers = original.headers.copy()
            request = original.with_(headers=headers, body=_again(original, replay))

    def _pause(
        self,
        request: Request,
        replay: Replay | None,
        retries: int,
        failure: UpstreamError | Response,
    ) -> float | None:
        """Seconds to wait before the next try; None where there must be none."""
        pause = self._settings.back_off.draw(self._env.random, retries + 1)
        if isinstance(failure, Response):
            asked = retry_after(failure.headers, self._env.time())
            pause = max(pause, asked, pushback(failure))
        if retries == self._settings.retries:
            decision = "limit_reached"
        elif request.exchange.reason is not None:
            decision = "cancelled"
        elif not self._is_safe(request, failure):
            decision = "unsafe"
        elif replay is not None and replay.is_spilled:
            decision = "not_replayable"
        elif pause > self._settings.back_off.max:
            decision = "told_to_wait"
        elif pause >= self._left(request.exchange):
            decision = "out_of_time"
        elif not self.budget.withdraw():
            self._refused.add((request.destination,))
            decision = "budget_exhausted"
        else:
            self._env.decide("retried")
            return pause
        self._env.decide(decision)
        return None

    def _left(self, exchange: Exchange) -> float:
        """Seconds until the exchange's limit ends it, and no try would be heard of."""
        return exchange.started + exchange.limits.request - self._env.clock()

    def _is_safe(self, request: Request, failure: UpstreamError | Response) -> bool:
        """Whether it may be sent twice, or has not been sent at all."""
        if request.method in self._methods:
            return True
        if isinstance(failure, UpstreamError) and not failure.sent:
            return True
        return self._is_listed(request, failure)

    def _is_listed(self, request: Request, end: UpstreamError | Response) -> bool:
        """Whether a gRPC request came to one of the statuses it may be repeated after."""
        if not is_grpc(request):
            return False
        status = end.grpc_status if isinstance(end, UpstreamError) else status_of(end)
        return status in self._codes

    def __repr__(self) -> str:
        return f"<retry {self.budget!r}>"


def _note(request: Request, response: Response) -> None:
    """Have the attempt tell how its dropped response ended."""
    attempts = request.exchange.attempts
    if attempts and is_grpc(request):
        attempts[-1].grpc_status = status_of(response)


def _is_success(request: Request, response: Response) -> bool:
    if response.status >= 500:
        return False
    return not is_grpc(request) or status_of(response) not in GRPC_FAILURES


def _again(original: Request, replay: Replay | None) -> Body:
    if replay is not None:
        return replay.start()
    assert isinstance(original.body, Buffered)
    return Buffered(original.body.data, original.body.trailers)
