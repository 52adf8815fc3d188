"""``timeout``: how long a request may take, as data that the runtime enforces."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
from attrs.validators import gt, optional

from meshfilters.api import RequestFilter, Service
from meshfilters.env import Env
from meshfilters.errors import DeadlineExceeded
from meshfilters.exchange import Attempt, Outcome
from meshfilters.grpc import is_grpc, read_timeout, write_timeout
from meshfilters.message import Request, Response

IDLE: float | None = 300.0
"""Envoy's default for a stream: 5 minutes."""


@attrs.frozen
class Timeout:
    """End a request that takes longer than these seconds with 504.

    Limits are only ever lowered: of two ``timeout`` filters the stricter one counts.
    An upgraded connection drops ``request`` and keeps ``idle``. A gRPC client's
    ``grpc-timeout`` lowers ``request``, and its server is told what is left of that.
    """

    request: float | None = attrs.field(default=None, validator=optional(gt(0.0)))
    """From its start to the last byte of the response, over all its retries."""
    head: float | None = attrs.field(default=None, validator=optional(gt(0.0)))
    """From the request sent in full to the head of the response, for each attempt."""
    idle: float | None = attrs.field(default=IDLE, validator=optional(gt(0.0)))
    """Without a byte either way; set unless it is null."""
    grpc: bool = True
    """Whether to take ``grpc-timeout`` from clients and tell it to servers."""

    def __attrs_post_init__(self) -> None:
        if not self._limits():
            raise ValueError("set at least one of request, head and idle")

    def build(self, env: Env) -> RequestFilter:
        wanted, keeps_deadlines, clock = self._limits(), self.grpc, env.clock
        request_limit, head_limit, idle_limit = (
            wanted.get(name, math.inf) for name in ("request", "head", "idle")
        )

        def count(outcome: Outcome) -> None:
            if isinstance(outcome.error, DeadlineExceeded):
                env.decide("ran_out")

        async def timeout(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            exchange = request.exchange
            exchange.lower(request=request_limit, head=head_limit, idle=idle_limit)
            exchange.on_end(count)
            if keeps_deadlines and is_grpc(request):
                _keep_deadline(request, clock)
            return await inner(request)

        return timeout

    def _limits(self) -> dict[str, float]:
        named = {"request": self.request, "head": self.head, "idle": self.idle}
        return {name: limit for name, limit in named.items() if limit is not None}


def _keep_deadline(request: Request, clock: Callable[[], float]) -> None:
    """Wait no longer than the client does, and tell each attempt how long that is."""
    exchange, limits = request.exchange, request.exchange.limits
    written = request.headers.index.get(b"grpc-timeout")
    if written is not None:
        wanted = read_timeout(written)
        if wanted is None:
            return  # Some servers refuse it and some do not care: let the server say.
        if wanted <= clock() - exchange.started:
            raise DeadlineExceeded("the client's grpc-timeout is over")
        exchange.lower(request=wanted)
    if limits.request == math.inf:
        return

    def tell(attempt: Attempt) -> None:
        left = exchange.started + limits.request - clock()
        attempt.headers.set(b"grpc-timeout", write_timeout(left))

    exchange.on_attempt(tell)
