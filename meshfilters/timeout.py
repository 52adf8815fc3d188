"""``timeout``: how long a request may take, as data that the runtime enforces."""

from __future__ import annotations

import attrs
from attrs.validators import gt, optional

from meshfilters.api import RequestFilter, Service
from meshfilters.env import Env
from meshfilters.errors import DeadlineExceeded
from meshfilters.exchange import Outcome
from meshfilters.message import Request, Response

IDLE: float | None = 300.0
"""Envoy's default for a stream: 5 minutes."""


@attrs.frozen
class Timeout:
    """End a request that takes longer than these seconds with 504.

    Limits are only ever lowered: of two ``timeout`` filters the stricter one counts.
    An upgraded connection drops ``request`` and keeps ``idle``.
    """

    request: float | None = attrs.field(default=None, validator=optional(gt(0.0)))
    """From its start to the last byte of the response, over all its retries."""
    head: float | None = attrs.field(default=None, validator=optional(gt(0.0)))
    """From the request sent in full to the head of the response, for each attempt."""
    idle: float | None = attrs.field(default=IDLE, validator=optional(gt(0.0)))
    """Without a byte either way; set unless it is null."""

    def __attrs_post_init__(self) -> None:
        if not self._limits():
            raise ValueError("set at least one of request, head and idle")

    def build(self, env: Env) -> RequestFilter:
        limits = self._limits()

        def count(outcome: Outcome) -> None:
            if isinstance(outcome.error, DeadlineExceeded):
                env.decide("ran_out")

        async def timeout(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            exchange = request.exchange
            exchange.lower(**limits)
            exchange.on_end(count)
            return await inner(request)

        return timeout

    def _limits(self) -> dict[str, float]:
        named = {"request": self.request, "head": self.head, "idle": self.idle}
        return {name: limit for name, limit in named.items() if limit is not None}
