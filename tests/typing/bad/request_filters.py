"""Mistakes in a request filter; the comment is the code mypy must report there."""

from __future__ import annotations

import attrs

from meshfilters.api import RequestFilter, Service, chain
from meshfilters.env import Env
from meshfilters.exchange import Attempt, Connection
from meshfilters.message import Headers, Outcome, Request, Response


async def forgets_to_answer(
    request: Request, inner: Service[Request, Response], /
) -> None:
    await inner(request)


async def forgets_to_await(
    request: Request, inner: Service[Request, Response], /
) -> Response:
    return inner(request)  # E: return-value


def is_not_asynchronous(
    request: Request, inner: Service[Request, Response], /
) -> Response:
    return Response(200)


async def passes_something_else(
    request: Request, inner: Service[Request, Response], /
) -> Response:
    return await inner(request.headers)  # E: arg-type


async def is_of_another_level(
    connection: Connection, inner: Service[Connection, None], /
) -> None:
    await inner(connection)


one: RequestFilter = forgets_to_answer  # E: assignment
two: RequestFilter = is_not_asynchronous  # E: assignment
three: RequestFilter = is_of_another_level  # E: assignment


def mixes_levels(service: Service[Request, Response]) -> Service[Request, Response]:
    return chain([is_of_another_level], service)  # E: list-item


@attrs.frozen
class BuildsNothing:
    limit: int = 1

    def build(self, env: Env) -> RequestFilter:
        self.limit = 2  # E: misc
        env.counter("seen_total").add("seen")  # E: arg-type
        return None  # E: return-value


class Endless:
    """A body that forgot its trailers."""

    @property
    def length(self) -> int | None:
        return None

    async def receive(self) -> bytes:
        return b"and so on "

    async def aclose(self) -> None: ...


def takes_an_attempt(attempt: Attempt) -> None: ...


def takes_an_outcome(outcome: Outcome) -> None: ...


async def uses_values_wrongly(
    request: Request, inner: Service[Request, Response], /
) -> Response:
    exchange = request.exchange
    exchange.on_end(takes_an_attempt)  # E: arg-type
    exchange.on_attempt(takes_an_outcome)  # E: arg-type
    exchange.peer.upper()  # E: union-attr
    exchange.lower(seconds=3)  # E: call-arg
    exchange.start_soon(takes_an_outcome)  # E: arg-type
    request.headers.get("accept")  # E: arg-type
    request.headers["accept"]  # E: index
    "accept" in request.headers  # E: operator
    request.with_(body=b"text")  # E: arg-type
    request.with_(body=Endless())  # E: arg-type
    request.note = "for the next filter"  # E: attr-defined
    return Response("200", Headers())  # E: arg-type
