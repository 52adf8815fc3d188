"""Let each client make only so many requests at a time."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import attrs

from meshfilters.api import RequestFilter, Service
from meshfilters.env import Env
from meshfilters.errors import Overloaded
from meshfilters.message import Outcome, Request, Response


@attrs.frozen
class Fair:
    """Refuse a client's request while ``limit`` others of its are under way.

    Each worker counts for itself.
    """

    outside: ClassVar = {"retry": "a client's request counts once, however often tried"}

    limit: int = attrs.field(default=10, validator=attrs.validators.ge(1))

    def build(self, env: Env) -> RequestFilter:
        under_way: Counter[str | None] = Counter()

        async def fair(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            client = request.exchange.peer
            if under_way[client] >= self.limit:
                env.decide("refused")
                raise Overloaded(f"{client} has {self.limit} requests under way")
            under_way[client] += 1

            def leave(outcome: Outcome) -> None:
                under_way[client] -= 1
                if not under_way[client]:
                    del under_way[client]

            request.exchange.on_end(leave)
            return await inner(request)

        return fair
