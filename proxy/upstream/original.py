"""The service of everything that no service names: connections go on where they were going.

It has a pool for each original address, made when it is needed. Clients choose the
addresses, so pools are bounded in number, and one that is unused is given up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from heapq import nlargest

import attrs

from meshfilters.errors import LoopDetected, MeshError, Overloaded
from meshfilters.exchange import Connection, Direction, Endpoint
from meshfilters.stream import Stream
from proxy.chain.side_tasks import SideTasks
from proxy.config import model
from proxy.transport.deadlines import Deadlines
from proxy.upstream.loops import LoopGuard
from proxy.upstream.pool import Pool
from proxy.upstream.service import Service

LARGEST = 1000
"""Addresses at a time. One more takes the place of the longest unused one."""

SHOWN = 20
"""Addresses in ``/stats``: the busiest."""


@attrs.define(eq=False)
class Place:
    """An original address that somebody went to."""

    pool: Pool
    used: float


class OriginalService:
    """Takes each connection, or its requests, where it was going. As ``Service`` is used."""

    def __init__(
        self,
        settings: model.Service,
        open_stream: Callable[[Endpoint], Awaitable[Stream]],
        deadlines: Deadlines,
        side_tasks: SideTasks,
        guard: LoopGuard,
    ) -> None:
        self.settings = settings
        self._open_stream = open_stream
        self._deadlines = deadlines
        self._side_tasks = side_tasks
        self._guard = guard
        self._places: OrderedDict[tuple[Direction, str], Place] = OrderedDict()
        # An address that one direction may go to, the other may not.
        self._timer = deadlines.timer(self._give_up_unused)
        self._is_closed = False

    def choose(self, connection: Connection) -> Pool:
        """The pool of the address. Raises LoopDetected, Refused or Overloaded."""
        address = connection.original
        if address is None:
            raise LoopDetected("it was not redirected: it came to the proxy itself")
        key = (connection.direction, address)
        place = self._places.get(key)
        now = self._deadlines.clock()
        if place is None:
            place = self._make(key, now)
        place.used = now
        self._places.move_to_end(key)
        return place.pool

    async def wait_known(self, connection: Connection) -> Pool:
        """As ``choose``: an original address is known when its connection is there."""
        return self.choose(connection)

    def recheck(self) -> None:
        """The proxy listens elsewhere: forget the addresses that are its own since."""
        for key in list(self._places):
            try:
                self._guard.check(*key)
            except MeshError:
                self._places.pop(key).pool.close()

    def _make(self, key: tuple[Direction, str], now: float) -> Place:
        self._guard.check(*key)
        if len(self._places) >= LARGEST:
            self._make_room()
        pool = Pool(
            Endpoint(self.settings.name, key[1]),
            self._open_stream,
            self._deadlines,
            self._side_tasks,
            size=self.settings.pool_size,
            idle=self.settings.pool_idle,
            protocol=self.settings.protocol,
            http2=self.settings.http2,
        )
        if self._is_closed:
            pool.close()
        elif not self._places:
            self._timer.set(now + self.settings.pool_idle)
        place = self._places[key] = Place(pool, now)
        return place

    def _make_room(self) -> None:
        for key, place in self._places.items():
            if not place.pool.active:
                self._places.pop(key).pool.close()
                return
        raise Overloaded(f"{LARGEST} original addresses are in use at once")

    def _give_up_unused(self) -> None:
        now = self._deadlines.clock()
        oldest = now - self.settings.pool_idle
        for key, place in list(self._places.items()):
            if place.pool.active:
                place.used = now
            elif place.used <= oldest:
                self._places.pop(key).pool.close()
        if self._places:
            self._timer.set(now + self.settings.pool_idle)

    def close(self) -> None:
        """No new requests: close what is unused, the rest as it comes back."""
        self._is_closed = True
        self._timer.close()
        for place in self._places.values():
            place.pool.close()

    def relieve(self) -> bool:
        """As ``Service`` does."""
        return any(place.pool.relieve() for place in self._places.values())

    def statistics(self) -> list[dict[str, object]]:
        """For ``/stats``: the busiest pools."""
        pools = [place.pool for place in self._places.values()]
        busiest = nlargest(SHOWN, pools, key=lambda pool: pool.active)
        return [pool.statistics() for pool in busiest]

    def __repr__(self) -> str:
        return f"<OriginalService {self.settings.name}: {len(self._places)} addresses>"


Destination = Service | OriginalService
"""What a request or a connection is sent to."""
