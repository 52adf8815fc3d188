"""The page a plugin author reads: its filter and its test, unchanged."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest

from meshfilters.api import RequestFilter, Service, chain
from meshfilters.env import Env
from meshfilters.errors import Overloaded
from meshfilters.message import Outcome, Request, Response
from meshfilters.testing import Kit, check_filter


@attrs.frozen
class Fair:
    """Refuse a client's request while ``limit`` others of its are under way."""

    limit: int = attrs.field(default=10, validator=attrs.validators.ge(1))

    def build(self, env: Env) -> RequestFilter:
        under_way: Counter[str | None] = Counter()

        async def fair(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            client = request.exchange.peer
            if under_way[client] >= self.limit:
                raise Overloaded(f"{client} has {self.limit} requests under way")
            under_way[client] += 1

            def leave(outcome: Outcome) -> None:
                under_way[client] -= 1
                if not under_way[client]:
                    del under_way[client]

            request.exchange.on_end(leave)
            return await inner(request)

        return fair


async def test_a_client_over_its_limit_is_refused() -> None:
    kit = Kit()  # from meshfilters.testing
    upstream = kit.script(Response(200), Response(200))
    service = chain([Fair(limit=1).build(kit.env)], upstream)
    first, second, third = kit.ask(), kit.ask(), kit.ask()

    await service(first)
    with pytest.raises(Overloaded):
        await service(second)
    kit.end(first)

    assert (await service(third)).status == 200


async def test_it_does_what_every_filter_must() -> None:
    await check_filter(Fair().build)
