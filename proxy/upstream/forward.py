"""The innermost request service: chooses an endpoint, sends, returns the response."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import trio

from meshfilters.errors import AttemptTimeout, MeshError, NoRoute, UpstreamError
from meshfilters.exchange import Attempt
from meshfilters.message import Buffered, Request, Response
from proxy.chain.pipeline import FORWARD
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.pool import Pool
from proxy.upstream.service import Service


class Forward:
    """Sends each request to one endpoint of its destination, once.

    Only a request that raced the closing of a pooled connection is sent a second
    time, on a new one: when nothing of it was taken, or it is safe to repeat.
    """

    def __init__(
        self, services: Mapping[str, Service], clock: Callable[[], float]
    ) -> None:
        self._services = services
        self._clock = clock

    async def __call__(self, request: Request, /) -> Response:
        exchange = request.exchange
        begun = time.perf_counter()
        attempt: Attempt | None = None
        try:
            service = self._services.get(request.destination)
            if service is None:
                raise NoRoute(f"no service is named {request.destination}")
            pool = service.choose() or await service.wait_known()
            headers = request.headers
            attempt = Attempt(
                len(exchange.attempts) + 1,
                pool.endpoint,
                self._clock(),
                headers.copy() if exchange.is_watched else headers,
            )
            exchange.begin(attempt)
            connection = pool.take()
            if connection is not None:
                attempt.reused = True
                try:
                    return await connection.ask(request, attempt)
                except UpstreamError as error:
                    if not _may_repeat(error, request):
                        raise
            attempt.reused = False
            connection = await self._open(pool, request, attempt)
            return await connection.ask(request, attempt)
        except MeshError as error:
            if attempt is not None:
                attempt.error = error
            error.by = error.by or FORWARD
            raise
        finally:
            if attempt is not None and attempt.head is None:
                attempt.ended = self._clock()
            exchange.spent += time.perf_counter() - begun

    async def _open(
        self, pool: Pool, request: Request, attempt: Attempt
    ) -> UpstreamConnection:
        limit = request.exchange.limits.attempt
        if limit == math.inf:
            return await pool.open()
        # Once a connection, not once a request.
        left = attempt.started + limit - self._clock()
        with trio.move_on_after(max(0.0, left)):
            return await pool.open()
        pool.punish()
        raise AttemptTimeout(f"not connected within {limit:g} s")


def _may_repeat(error: UpstreamError, request: Request) -> bool:
    """Whether a failure on a pooled connection was the connection's, not the request's."""
    body = request.body
    if not error.reused or not (type(body) is Buffered and body.is_whole):
        return False
    return not error.sent or request.is_idempotent
