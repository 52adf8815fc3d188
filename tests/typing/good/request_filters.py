"""Shapes a request filter may have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import ClassVar

import attrs

from meshfilters.api import Configured, RequestFilter, Service, chain
from meshfilters.env import Env
from meshfilters.errors import Refused
from meshfilters.message import Body, Headers, Outcome, Request, Response
from meshfilters.testing import Kit


async def as_a_function(
    request: Request, inner: Service[Request, Response], /
) -> Response:
    return await inner(request)


def without_a_frame(
    request: Request, inner: Service[Request, Response], /
) -> Coroutine[object, object, Response]:
    return inner(request.with_(destination="other"))


async def that_says_no(
    request: Request, inner: Service[Request, Response], /
) -> Response:
    raise Refused("not today")


@attrs.define(eq=False)
class AsAnObject:
    seen: int = 0

    async def __call__(
        self, request: Request, inner: Service[Request, Response], /
    ) -> Response:
        self.seen += 1
        return await inner(request)


class Upper:
    """A body around another."""

    def __init__(self, source: Body) -> None:
        self._source = source

    @property
    def length(self) -> int | None:
        return self._source.length

    @property
    def trailers(self) -> Headers:
        return self._source.trailers

    async def receive(self) -> bytes:
        return (await self._source.receive()).upper()

    async def aclose(self) -> None:
        await self._source.aclose()


@attrs.frozen
class Shout:
    outside: ClassVar = {"retry": "it is enough to shout once"}

    times: int = 1

    def build(self, env: Env) -> RequestFilter:
        shouted = env.counter("shouted_total", "status", help="What was shouted.")

        async def shout(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            def count(outcome: Outcome) -> None:
                shouted.add((outcome.status or 0,))

            request.exchange.lower(head=5)
            request.exchange.on_end(count)
            response = await inner(request.with_(body=Upper(request.body)))
            return response.with_(body=Upper(response.body))

        return shout


configured: Configured[RequestFilter] = Shout(times=2)
builder: Callable[[Env], RequestFilter] = Shout().build


async def in_a_chain(kit: Kit) -> Awaitable[Response]:
    filters: list[RequestFilter] = [as_a_function, without_a_frame, AsAnObject()]
    service = chain(filters, kit.script(Response(200)))
    return service(kit.ask())
