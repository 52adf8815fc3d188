"""What runs, and what differs when something else is to run."""

from __future__ import annotations

from pathlib import Path

import attrs

from proxy.config import read_text
from proxy.config.model import Config, Listener
from proxy.supervisor import limits
from proxy.supervisor.sockets import Place
from proxy.supervisor.upgrade import stamp

BACKLOG = 128
"""Of the admin port: scrapers and probes."""
INTERVAL = 1.0
"""Seconds between two looks at the file."""


@attrs.frozen
class Running:
    """A configuration in use, or about to be."""

    text: str
    config: Config
    number: int

    @property
    def slots(self) -> int:
        """Workers."""
        workers = self.config.workers
        return limits.cores() if workers == "auto" else workers

    @property
    def admin_places(self) -> dict[Place, int]:
        """Where the agent listens, with its backlog."""
        admin = self.config.admin
        return {Place.of("", admin, 0): BACKLOG} if admin else {}

    @property
    def places(self) -> dict[Place, int]:
        """Everywhere the proxy listens, each with its backlog."""
        return self.admin_places | {
            Place.of(listener.name, address, slot): listener.backlog
            for listener in self.config.listeners.values()
            for address in listener.address
            for slot in range(self.slots)
        }

    def places_of(self, slot: int) -> dict[str, list[Place]]:
        """Where the worker in a slot listens, by listener."""
        return {
            name: [Place.of(name, address, slot) for address in listener.address]
            for name, listener in self.config.listeners.items()
        }

    def changed_listeners(self, before: Running) -> list[Listener]:
        """The listeners that are new or have other addresses."""
        old = before.config.listeners
        return [
            each
            for each in self.config.listeners.values()
            if each.name not in old or old[each.name].address != each.address
        ]

    def agent_differs(self, before: Running) -> bool:
        """Whether the agent must start anew to do what is asked."""
        old, new = before.config, self.config
        return (new.admin, new.shutdown, new.tracing, new.log) != (
            old.admin,
            old.shutdown,
            old.tracing,
            old.log,
        )

    @property
    def packages(self) -> set[str]:
        """The top packages of the filters in use."""
        listeners, services = self.config.listeners, self.config.services
        chains = [
            *(each.connection + each.request for each in listeners.values()),
            *(each.dial for each in services.values()),
        ]
        return {
            type(placed.settings).__module__.partition(".")[0]
            for chain in chains
            for placed in chain
        }


@attrs.define(eq=False)
class Watched:
    """The file, looked at once a second; a change counts once it has come to rest."""

    path: Path | None
    _used: tuple[int, int] = (0, 0)
    _seen: tuple[int, int] = (0, 0)
    _looked_at: float = 0.0

    def __attrs_post_init__(self) -> None:
        if self.path is not None:
            self._used = self._seen = stamp(self.path)

    def has_changed(self, now: float) -> bool:
        """Whether it is another than was read last, and the same as a second ago."""
        if self.path is None or now - self._looked_at < INTERVAL:
            return False
        self._looked_at = now
        before, self._seen = self._seen, stamp(self.path)
        return self._seen == before and self._seen != self._used

    def read(self) -> str:
        """Its text. Raises ConfigErrors."""
        assert self.path is not None
        self._used = self._seen = stamp(self.path)
        return read_text(self.path)

    def forget(self) -> None:
        """Have it read again."""
        self._used = (-1, -1)
