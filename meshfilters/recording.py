"""The spans of one sampled exchange, from its start to its end."""

from __future__ import annotations

from typing import Literal

import attrs

from meshfilters.env import Env
from meshfilters.exchange import Attempt, Outcome
from meshfilters.message import Request
from meshfilters.propagation import Context, write_context
from meshfilters.semconv import (
    Attributes,
    client_attributes,
    client_error,
    server_attributes,
    server_error,
    span_name,
)

FIELDS = (
    *("trace_id", "span_id", "parent_id", "trace_state"),
    *("kind", "name", "start", "end", "is_error", "attributes"),
)
"""What a span's record holds, in this order; every value is one that JSON has.

Ids are lower-case hex (``parent_id`` empty for a root), ``kind`` is ``server`` or
``client``, ``start`` and ``end`` are nanoseconds since 1970.
"""

Kind = Literal["server", "client"]


def record(env: Env, request: Request, context: Context) -> None:
    """Have the exchange's spans recorded, as children of ``context``."""
    recording = Recording(env, request, context)
    request.exchange.timings = {}
    request.exchange.on_attempt(recording.attempt)
    request.exchange.on_end(recording.end)


class Recording:
    """One sampled exchange: the ids of its spans, until its end writes them."""

    def __init__(self, env: Env, request: Request, context: Context) -> None:
        self._env = env
        self._request = request
        self._parent_id = context.span_id
        self._context = attrs.evolve(
            context,
            trace_id=context.trace_id or self._new_id(128),
            span_id=self._new_id(64),
        )
        self._attempts: list[tuple[Attempt, str]] = []

    def attempt(self, attempt: Attempt) -> None:
        context = attrs.evolve(self._context, span_id=self._new_id(64))
        self._attempts.append((attempt, context.span_id))
        write_context(attempt.headers, context, self._context.span_id)

    def end(self, outcome: Outcome) -> None:
        request, started = self._request, self._request.exchange.started
        ended = started + outcome.seconds
        self._export(
            "server",
            (self._context.span_id, self._parent_id),
            (started, ended),
            server_attributes(request, outcome),
            server_error(request, outcome),
        )
        for attempt, span_id in self._attempts:
            self._export(
                "client",
                (span_id, self._context.span_id),
                (attempt.started, ended if attempt.ended is None else attempt.ended),
                client_attributes(request, attempt, outcome),
                client_error(request, attempt, outcome),
            )

    def _export(
        self,
        kind: Kind,
        ids: tuple[str, str],
        times: tuple[float, float],
        attributes: Attributes,
        error: str | None,
    ) -> None:
        if error is not None:
            attributes["error.type"] = error
        epoch = self._env.time() - self._env.clock()
        start, end = (round((epoch + time) * 1e9) for time in times)
        context, name = self._context, span_name(attributes)
        span = (context.trace_id, *ids, context.state, kind, name, start, end)
        self._env.export((*span, error is not None, attributes))

    def _new_id(self, bits: int) -> str:
        # Zero is no id, in W3C as in B3.
        return f"{self._env.random.getrandbits(bits) or 1:0{bits // 4}x}"
