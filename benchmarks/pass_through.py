"""The filter that does nothing, to see what being a filter costs."""

from __future__ import annotations

import attrs

from meshfilters.api import RequestFilter, Service
from meshfilters.env import Env
from meshfilters.message import Request, Response


@attrs.frozen
class PassThrough:
    """Hand on every request, and every response."""

    def build(self, env: Env) -> RequestFilter:
        async def pass_through(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            return await inner(request)

        return pass_through
