"""What the installed distributions declare as entry points, as far as we ask.

importlib.metadata says as much, but brings email and zipfile with it: 1.5 MB that every
proxy would hold, and 9 ms at each start. Here only folders are looked into, for Tulle's
own dependencies do not run from zip files.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import attrs


@attrs.frozen(order=True)
class Entry:
    """A name, and the ``module:object`` it stands for."""

    name: str
    value: str
    metadata: str | None = None
    """The folder that says so; None where no distribution does."""

    @property
    def distribution(self) -> str:
        """Name and version of what declares it."""
        if self.metadata is None:
            return "no distribution"
        from importlib.metadata import Distribution

        found = Distribution.at(self.metadata)
        return f"{found.name} {found.version}"

    def load(self) -> object:
        """Import it. Raises whatever its module does."""
        module, _, name = self.value.partition("[")[0].partition(":")
        found: object = attrgetter(name.strip())(import_module(module.strip()))
        return found


def declared(groups: Collection[str]) -> dict[str, list[Entry]]:
    """What is installed, by group and in order of names."""
    found: dict[str, list[Entry]] = {group: [] for group in groups}
    for folder in _metadata():
        for group, name, value in _lines(folder):
            if group in found:
                found[group].append(Entry(name, value, folder))
    return {group: sorted(each) for group, each in found.items()}


def _metadata() -> Iterator[str]:
    """The folder of each distribution; of two with one name the one that is imported."""
    seen = set()
    for folder in sys.path:
        with suppress(OSError):
            for each in os.listdir(folder or "."):
                stem, _, kind = each.lower().rpartition(".")
                name = re.sub(r"[-_.]+", "_", stem.partition("-")[0])
                if kind in {"dist-info", "egg-info"} and name not in seen:
                    seen.add(name)
                    yield os.path.join(folder, each)


def _lines(metadata: str) -> Iterator[tuple[str, str, str]]:
    group = ""
    with suppress(OSError):
        text = Path(metadata, "entry_points.txt").read_text("utf-8", errors="replace")
        for line in map(str.strip, text.splitlines()):
            if line.startswith("["):
                group = line.strip("[]")
            elif line and not line.startswith("#"):
                name, _, value = line.partition("=")
                yield group, name.strip(), value.strip()
