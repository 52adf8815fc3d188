"""A named service as it runs: its endpoints, looked up again as they age, and a choice.

Power of two choices over the requests in flight: two endpoints at random, the less
busy one of them. One that has just refused a connection is passed over while another
is there.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from random import Random

import trio

from meshfilters.errors import NoEndpoints
from meshfilters.exchange import Connection, Endpoint
from meshfilters.stream import Stream
from proxy.chain.pipeline import FORWARD
from proxy.chain.side_tasks import SideTasks
from proxy.config import model
from proxy.config.address import Inet, parse_address
from proxy.transport.deadlines import Deadlines
from proxy.upstream.pool import Pool

log = logging.getLogger("tulle.upstream")

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) to addresses. Raises OSError."""

LOOKUP_TIME = 5.0
"""Seconds a lookup may take before the last answer is kept, or the request fails."""


class Service:
    """One service of the configuration in one worker."""

    def __init__(
        self,
        settings: model.Service,
        open_stream: Callable[[Endpoint], Awaitable[Stream]],
        deadlines: Deadlines,
        side_tasks: SideTasks,
        random: Random,
        lookup: Lookup,
    ) -> None:
        self.settings = settings
        self._open_stream = open_stream
        self._deadlines = deadlines
        self._side_tasks = side_tasks
        self._draw = random.random
        self._lookup = lookup
        self._pools: dict[Endpoint, Pool] = {}
        self._choices: list[Pool] = []
        self._names = [
            address
            for address in map(parse_address, settings.endpoints)
            if isinstance(address, Inet) and address.is_name
        ]
        self._answers: dict[Inet, list[str]] = {}
        self._fresh_until = 0.0
        self._looking: trio.Event | None = None
        self._update()

    def choose(self, connection: Connection | None = None) -> Pool | None:
        """The pool for the next attempt; None when no address is known yet.

        Whose connection it is for makes no difference here (``original.py``).
        """
        if self._names and self._deadlines.clock() >= self._fresh_until:
            self._look_up_soon()
        choices = self._choices
        count = len(choices)
        if count < 2:
            return choices[0] if choices else None
        first = int(self._draw() * count)
        second = int(self._draw() * (count - 1))
        if second >= first:
            second += 1
        one, other = choices[first], choices[second]
        if one.is_down or other.is_down:
            return self._choose_up(one, other)
        return one if one.active <= other.active else other

    def _choose_up(self, one: Pool, other: Pool) -> Pool:
        if not one.is_down:
            return one
        if not other.is_down:
            return other
        standing = [pool for pool in self._choices if not pool.is_down]
        return min(standing or [one, other], key=lambda pool: pool.active)

    async def wait_known(self, connection: Connection | None = None) -> Pool:
        """The pool for the first attempt, once its name is resolved. Raises NoEndpoints."""
        if self._looking is not None:
            with trio.move_on_after(LOOKUP_TIME):
                await self._looking.wait()
        pool = self.choose()
        if pool is None:
            names = ", ".join(name.host for name in self._names)
            raise NoEndpoints(f"{self.settings.name}: no address for {names}")
        return pool

    def _look_up_soon(self) -> None:
        if self._looking is None:
            self._looking = trio.Event()
            self._side_tasks.start_soon(FORWARD, self._look_up)

    async def _look_up(self) -> None:
        looking = self._looking
        assert looking is not None
        try:
            # At once, so that a slow name holds no other up.
            async with trio.open_nursery() as nursery:
                for name in self._names:
                    nursery.start_soon(self._look_up_one, name)
            self._update()
        finally:
            self._fresh_until = self._deadlines.clock() + self.settings.resolve
            self._looking = None
            looking.set()

    async def _look_up_one(self, name: Inet) -> None:
        try:
            with trio.fail_after(LOOKUP_TIME):
                found = await self._lookup(name.host, name.port)
        except (OSError, UnicodeError, trio.TooSlowError) as error:
            log.warning(
                "lookup failed service=%s host=%s error=%s; last answer kept",
                self.settings.name,
                name.host,
                error,
            )
        else:
            self._answers[name] = found

    def _update(self) -> None:
        """Bring the pools in line with what is known; those of gone addresses close."""
        wanted: dict[Endpoint, None] = {}
        for text in self.settings.endpoints:
            address = parse_address(text)
            if isinstance(address, Inet) and address.is_name:
                for each in self._answers.get(address, ()):
                    wanted[Endpoint(self.settings.name, each, address.host)] = None
            else:
                wanted[Endpoint(self.settings.name, text)] = None
        for endpoint in list(self._pools):
            if endpoint not in wanted:
                self._pools.pop(endpoint).close()
        for endpoint in wanted:
            if endpoint not in self._pools:
                self._pools[endpoint] = self._pool(endpoint)
        self._choices = list(self._pools.values())

    def _pool(self, endpoint: Endpoint) -> Pool:
        return Pool(
            endpoint,
            self._open_stream,
            self._deadlines,
            self._side_tasks,
            size=self.settings.pool_size,
            idle=self.settings.pool_idle,
            protocol=self.settings.protocol,
            http2=self.settings.http2,
        )

    def close(self) -> None:
        """No new requests: close what is unused, the rest as it comes back."""
        for pool in self._pools.values():
            pool.close()

    def relieve(self) -> bool:
        """Close some unused connections of a pool; False when there are none."""
        return any(pool.relieve() for pool in self._choices)

    def statistics(self) -> list[dict[str, object]]:
        """For ``/stats``: each pool."""
        return [pool.statistics() for pool in self._choices]

    def __repr__(self) -> str:
        return f"<Service {self.settings.name}: {len(self._choices)} endpoints>"


async def look_up(host: str, port: int) -> list[str]:
    """Every address of a host, by the system's resolver, in its own thread."""
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [
        f"[{name[0]}]:{port}" if family == socket.AF_INET6 else f"{name[0]}:{port}"
        for family, _, _, _, name in found
    ]
    return list(dict.fromkeys(addresses))
