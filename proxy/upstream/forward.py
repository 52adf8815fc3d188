"""The innermost request service: chooses an endpoint, sends, returns the response."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import trio

from meshfilters.errors import AttemptTimeout, MeshError, NoRoute, UpstreamError
from meshfilters.exchange import Attempt
from meshfilters.message import Buffered, Request, Response
from meshfilters.replay import Replay
from proxy.chain.pipeline import FORWARD
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.original import Destination
from proxy.upstream.pool import Connection, Pool

RACES = 2
"""Times that a request whose connection ended, and not it, is sent again."""

PAUSES = (0.0, 0.0, 0.01, 0.05, 0.1)
"""Seconds before each time that a refused stream's request is sent again: an endpoint may
refuse one within its own limit while it still ends another."""

KEPT = 64 * 1024
"""Bytes kept of a body that streams past, until the response's head, lest the endpoint
refuses its stream (Linkerd's retries keep as much)."""


class Forward:
    """Sends each request to one endpoint of its destination, once.

    Only a request that raced the end of a connection is sent again, on another: when
    nothing of it was taken (a GOAWAY or REFUSED_STREAM says so), or it is safe to repeat.
    """

    def __init__(
        self, services: Mapping[str, Destination], clock: Callable[[], float]
    ) -> None:
        self._services = services
        self._clock = clock

    async def __call__(self, request: Request, /) -> Response:
        exchange = request.exchange
        begun = time.perf_counter()
        attempt: Attempt | None = None
        replay: Replay | None = None
        try:
            service = self._services.get(request.destination)
            connected = exchange.connection
            if service is None:
                raise NoRoute(f"no service is named {request.destination}")
            pool = service.choose(connected) or await service.wait_known(connected)
            headers = request.headers
            attempt = Attempt(
                len(exchange.attempts) + 1,
                pool.endpoint,
                self._clock(),
                headers.copy() if exchange.is_watched else headers,
            )
            exchange.begin(attempt)
            connection = pool.take(request)
            attempt.reused = connection is not None
            for number, pause in enumerate(PAUSES, 1):
                connection = connection or await self._open(pool, request, attempt)
                if replay is None and _may_be_refused(connection, request):
                    replay = Replay(request.body, KEPT)
                    request = request.with_(body=replay.start())
                try:
                    return await connection.ask(request, attempt)
                except UpstreamError as error:
                    is_refused = error.reset is not None and not error.sent
                    is_last = number > RACES and not is_refused
                    if is_last or not _may_repeat(error, request, replay):
                        raise
                attempt.reused = False
                connection = None
                if replay is not None:
                    request = request.with_(body=replay.start())
                if pause:
                    await trio.sleep(pause)
            connection = await self._open(pool, request, attempt)
            return await connection.ask(request, attempt)
        except MeshError as error:
            if attempt is not None:
                attempt.error = error
            error.by = error.by or FORWARD
            raise
        finally:
            if replay is not None:
                await replay.release()
            if attempt is not None and attempt.head is None:
                attempt.ended = self._clock()
            exchange.spent += time.perf_counter() - begun

    async def _open(self, pool: Pool, request: Request, attempt: Attempt) -> Connection:
        limit = request.exchange.limits.attempt
        if limit == math.inf:
            return await pool.open(request)
        # Once a connection, not once a request.
        left = attempt.started + limit - self._clock()
        with trio.move_on_after(max(0.0, left)):
            return await pool.open(request)
        pool.punish()
        raise AttemptTimeout(f"not connected within {limit:g} s")


def _may_be_refused(connection: Connection, request: Request) -> bool:
    """Whether its body is on its way already when a stream may turn out to be refused."""
    body = request.body
    is_here = type(body) is Buffered and body.is_whole
    return not is_here and not isinstance(connection, UpstreamConnection)


def _may_repeat(error: UpstreamError, request: Request, replay: Replay | None) -> bool:
    """Whether a failure on a pooled connection was the connection's, not the request's."""
    if not error.reused:
        return False
    if replay is not None:
        return not (error.sent or replay.is_spilled)
    body = request.body
    is_here = type(body) is Buffered and body.is_whole
    return is_here and (not error.sent or request.is_idempotent)
