"""TLS that does not end here: its server name is read, its bytes are passed on."""

from __future__ import annotations

import trio

from meshfilters.client_hello import peek_server_name
from meshfilters.counters import Metrics
from meshfilters.errors import Refused
from meshfilters.exchange import Connection
from proxy.config.model import Listener
from proxy.downstream.detect import detections
from proxy.downstream.serving import ENDED
from proxy.downstream.tcp import Tcp


class Passthrough:
    """A connection service: takes TLS to one endpoint of a service, and nothing else."""

    def __init__(self, settings: Listener, tcp: Tcp, metrics: Metrics) -> None:
        self._settings = settings
        self._tcp = tcp
        self._results = detections(metrics)

    async def __call__(self, connection: Connection, /) -> None:
        """Raises MeshError for what is no TLS, and when no endpoint takes it."""
        stream = connection.stream
        try:
            # 10 µs, once a connection.
            with trio.fail_after(self._settings.detect_timeout):
                if not await stream.peek(1):
                    self._count("closed")
                    return
                connection.server_name = await peek_server_name(stream)
        except ENDED:
            self._count("closed")
            return
        except trio.TooSlowError as error:
            self._count("timeout")
            raise Refused("no whole ClientHello in time") from error
        except ValueError as error:
            self._count("refused")
            raise Refused(f"TLS: {error}") from error
        self._count("tls")
        await self._tcp(connection)

    def _count(self, result: str) -> None:
        settings = self._settings
        self._results.add((settings.direction, settings.name, result))
