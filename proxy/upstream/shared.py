"""The HTTP/2 connections to one endpoint, and who waits for room on them.

One connection serves all exchanges while it has room for their streams. When it has not,
or is leaving, another is opened: one at a time, and whoever comes meanwhile waits for it.
While one grants no streams at all, none is opened: it would grant none, either.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from meshfilters.errors import MeshError, Overloaded

if TYPE_CHECKING:
    from proxy.upstream.multiplexed import ClientConnection

LARGEST = 100
"""Connections to one endpoint: with every one of them full, requests wait."""

QUEUE = 10_000
"""Requests that may wait; more are refused (Linkerd's queue has as many places)."""

T = TypeVar("T")


class Shared:
    """Connections that several exchanges use at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._connections: list[ClientConnection] = []
        self._lot = trio.lowlevel.ParkingLot()
        self._is_opening = False
        self._failed: MeshError | None = None

    def take(self) -> ClientConnection | None:
        """A connection with room for another exchange."""
        for connection in self._connections:
            if connection.is_usable:
                return connection
        return None

    def add(self, connection: ClientConnection) -> None:
        """A connection is open; unless it is leaving already it is used from now on."""
        if not connection.is_leaving:
            self._connections.append(connection)

    def forget(self, connection: ClientConnection) -> None:
        """A connection takes no more exchanges."""
        if connection in self._connections:
            self._connections.remove(connection)
        self._lot.unpark_all()

    def wake(self) -> None:
        """There may be room for one more."""
        if self._lot:
            self._lot.unpark()

    async def opened(self, open_one: Callable[[], Awaitable[T]]) -> T | None:
        """Open one, or wait: None when there may be room now. Raises what opening raised.

        Raises Overloaded when too many wait already.
        """
        is_opening = self._is_opening
        if is_opening or self._may_not_open():
            if len(self._lot) >= QUEUE:
                raise Overloaded(f"{QUEUE} requests wait for room at {self._name}")
            await self._lot.park()
            if is_opening and self._failed is not None:
                raise type(self._failed)(str(self._failed))
            return None
        self._is_opening = True
        self._failed = None
        try:
            return await open_one()
        except MeshError as error:
            self._failed = error
            raise
        finally:
            self._is_opening = False
            self._lot.unpark_all()

    def _may_not_open(self) -> bool:
        connections = self._connections
        return len(connections) >= LARGEST or any(
            connection.grants_none for connection in connections
        )

    def close(self) -> None:
        """Have every connection end behind its last exchange."""
        for connection in list(self._connections):
            connection.retire()

    def statistics(self) -> dict[str, object]:
        """For ``/stats``."""
        return {
            "connections": len(self._connections),
            "streams": sum(len(each.streams) for each in self._connections),
            "waiting": len(self._lot),
        }
