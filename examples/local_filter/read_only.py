"""Let only requests through that change nothing."""

from __future__ import annotations

import attrs

from meshfilters.api import RequestFilter, Service
from meshfilters.env import Env
from meshfilters.errors import Refused
from meshfilters.message import Request, Response


@attrs.frozen
class ReadOnly:
    """Refuse a request whose method is not one of ``methods``."""

    methods: frozenset[str] = frozenset({"GET", "HEAD"})

    def build(self, env: Env) -> RequestFilter:
        allowed = {method.encode() for method in self.methods}

        async def read_only(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            if request.method not in allowed:
                env.decide("refused")
                raise Refused("this service is read only")
            return await inner(request)

        return read_only
