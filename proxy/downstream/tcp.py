"""Opaque TCP: each connection is taken to one endpoint of a service, byte for byte."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from meshfilters.counters import Metrics
from meshfilters.errors import MeshError
from meshfilters.exchange import Connection
from proxy.transport.relay import Moved, relay
from proxy.upstream.original import Destination

log = logging.getLogger("tulle.tcp")

LABELS = ("direction", "dst")


class Tcp:
    """A connection service: relays until both sides have sent their last byte."""

    def __init__(
        self,
        route: Callable[[Connection], str],
        services: Mapping[str, Destination],
        metrics: Metrics,
    ) -> None:
        self._route = route
        self._services = services
        self._sent = metrics.counter(
            "tulle_tcp_sent_bytes_total", "Bytes from clients to a service.", LABELS
        )
        self._received = metrics.counter(
            "tulle_tcp_received_bytes_total", "Bytes from a service to clients.", LABELS
        )
        self._failed = metrics.counter(
            "tulle_tcp_errors_total",
            "Opaque connections that reached no endpoint, or broke.",
            (*LABELS, "error"),
        )

    async def __call__(self, connection: Connection, /, early: bytes = b"") -> None:
        """Serve a connection to its end; ``early`` has been received of it already.

        Raises MeshError when no endpoint takes the connection.
        """
        to = self._route(connection)
        key = (connection.direction, to)
        service = self._services[to]
        try:
            pool = service.choose(connection) or await service.wait_known(connection)
            upstream = await pool.open_stream()
        except MeshError as error:
            self._failed.add((*key, error.reason))
            raise
        moved = Moved()
        sent, received = self._sent.series(key), self._received.series(key)
        counted_sent = counted_received = 0

        def count() -> None:
            # At once: such a connection may be open for weeks.
            nonlocal counted_sent, counted_received
            sent[0] += moved.sent - counted_sent
            received[0] += moved.received - counted_received
            counted_sent, counted_received = moved.sent, moved.received

        try:
            await relay(connection.stream, upstream, count, moved, early)
        finally:
            pool.leave()
        if moved.error:
            self._failed.add((*key, "broken"))
            log.debug("connection broke dst=%s error=%s", to, moved.error)
