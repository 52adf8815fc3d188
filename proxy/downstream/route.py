"""Which service traffic goes to: what a listener's ``to`` means, request by request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from meshfilters.exchange import Connection
from proxy.config.model import ORIGINAL, ByHost, ByOriginal, Service
from proxy.downstream.serving import Head

Route = Callable[[Head, Connection], str | None]
"""The service a request goes to; None when there is none."""

Opaque = Callable[[Connection], str]
"""The service a connection of any bytes goes to."""


def requests_route(
    to: str | ByHost | ByOriginal, services: Mapping[str, Service]
) -> Route:
    """Read a listener's ``to`` for requests."""
    if isinstance(to, ByHost):
        return lambda head, connection: (
            host if (host := head.host.decode("ascii")) in services else None
        )
    if isinstance(to, ByOriginal):
        by_original = _by_original(services.values())
        return lambda head, connection: by_original(connection)
    return lambda head, connection: to


def opaque_route(
    to: str | ByHost | ByOriginal, services: Mapping[str, Service]
) -> Opaque | None:
    """Read a listener's ``to`` for connections; None where only a host would say."""
    if isinstance(to, ByHost):
        return None
    if isinstance(to, ByOriginal):
        return _by_original(services.values())
    return lambda connection: to


def _by_original(services: Iterable[Service]) -> Opaque:
    exact: dict[str | None, str] = {}
    ports: dict[tuple[bool, str], str] = {}
    """By whether it is IPv6, and the port: for addresses of any host."""
    for service in services:
        for address in service.addresses:
            host, _, port = address.rpartition(":")
            if host == "0.0.0.0":
                ports[False, port] = service.name
            elif host == "[::]":
                ports[True, port] = service.name
                # As a socket that listens there has it, unless IPv4 has its own.
                ports.setdefault((False, port), service.name)
            else:
                exact[address] = service.name

    def by_original(connection: Connection) -> str:
        original = connection.original
        name = exact.get(original)
        if name is None and ports and original is not None:
            name = ports.get((original[0] == "[", original.rpartition(":")[2]))
        return name or ORIGINAL

    return by_original
