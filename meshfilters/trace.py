"""Record spans of sampled requests and pass their trace on.

The client's decision about sampling is kept. A request without a context begins a
trace of its own with the probability ``ratio``; otherwise it is passed untouched, and
costs next to nothing. A sampled exchange is one server span, and one client span for
each attempt, whose id the attempt's own headers name as their parent.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import ClassVar

import attrs
from attrs.validators import ge, le, optional

from meshfilters.api import RequestFilter, Service
from meshfilters.env import Env
from meshfilters.message import Request, Response
from meshfilters.propagation import (
    NAMES,
    Context,
    carries_context,
    read_context,
)
from meshfilters.recording import FIELDS, record

__all__ = ["FIELDS", "Trace"]


@attrs.frozen
class Trace:
    """Pass on W3C and B3 trace contexts; record spans of what is sampled."""

    outside: ClassVar = {
        "retry": "an exchange is one span, and each of its attempts another",
        "timeout": "a request that timed out has its span",
    }

    ratio: float | None = attrs.field(default=None, validator=optional([ge(0), le(1)]))
    """Share of the traces begun here that is sampled; None is ``tracing.ratio``."""

    def build(self, env: Env) -> RequestFilter:
        ratio = self.ratio or 0.0
        draw = env.random.random

        def trace(
            request: Request, inner: Service[Request, Response], /
        ) -> Coroutine[object, object, Response]:
            headers = request.headers
            if not carries_context(headers.index):
                if ratio and draw() < ratio:
                    record(env, request, Context())
                return inner(request)
            context = read_context(headers)
            if context is None:
                # The next hop must not take up what was malformed here.
                headers = headers.copy()
                headers.remove(*NAMES)
                request = request.with_(headers=headers)
            is_sampled = None if context is None else context.is_sampled
            if is_sampled or (is_sampled is None and ratio and draw() < ratio):
                record(env, request, context or Context())
            return inner(request)

        return trace
