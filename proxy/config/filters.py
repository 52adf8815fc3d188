"""The filters that are installed: found through entry points, imported when named.

A group says the level and a word names the filter. ``module:Class`` names a filter
without installing it; its word, for metrics and rules of order, is then the class's
name in snake case. Such a module may stand beside the configuration file.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import get_args

import attrs

from proxy.config.entries import Entry, declared
from proxy.config.model import Level
from proxy.config.problems import nearest

LEVELS: tuple[Level, ...] = get_args(Level)
GROUPS: Mapping[Level, str] = {level: f"meshfilters.{level}" for level in LEVELS}


class UnknownFilter(Exception):
    """No filter of that name is installed."""


class BrokenFilter(Exception):
    """A filter whose code cannot be used; ``detail`` is the traceback, if any."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


@attrs.frozen
class Installed:
    """A filter's word at one level, and what says that it is there."""

    word: str
    level: Level
    entry: Entry

    @property
    def distribution(self) -> str:
        """Name and version of what brought it."""
        return self.entry.distribution

    def load(self) -> type:
        """Import it. Raises BrokenFilter."""
        try:
            cls = self.entry.load()
        except (Exception, SystemExit) as error:
            reason = f"filter {self.word}: {self.entry.value} cannot be imported"
            raise BrokenFilter(reason, traceback.format_exc()) from error
        if not isinstance(cls, type) or not attrs.has(cls) or not hasattr(cls, "build"):
            is_bare = isinstance(cls, type) and hasattr(cls, "build")
            missing = "; put @attrs.frozen above it" if is_bare else ""
            raise BrokenFilter(
                f"filter {self.word}: {self.entry.value} is not an attrs class "
                f"with a build method{missing}"
            )
        return cls


class Registry:
    """What is installed now; looked at when first asked."""

    @cached_property
    def installed(self) -> Mapping[Level, Mapping[str, tuple[Installed, ...]]]:
        """Filters by level and word; a word that several claim has several."""
        entries = _declared(tuple(_import_path()))
        found: dict[Level, dict[str, tuple[Installed, ...]]] = {}
        for level in LEVELS:
            words = found.setdefault(level, {})
            for entry in entries[GROUPS[level]]:
                others = words.get(entry.name, ())
                # An editable install may be seen twice; that is no clash.
                if all(each.entry.value != entry.value for each in others):
                    here = Installed(entry.name, level, entry)
                    words[entry.name] = (*others, here)
        return found

    def find(self, level: Level, word: str, beside: Path) -> Installed:
        """Return the one filter of that word; ``module:Class`` is looked for too.

        Raises UnknownFilter with what is known instead.
        """
        if ":" in word:
            return _local(level, word, beside)
        words = self.installed[level]
        if word not in words:
            raise UnknownFilter(self._instead(level, word))
        first, *others = words[word]
        if others:
            claims = ", ".join(each.distribution for each in words[word])
            raise UnknownFilter(
                f"several distributions have a {level} filter of that name: {claims}; "
                f"uninstall all but one or write {first.entry.value}"
            )
        return first

    def _instead(self, level: Level, word: str) -> str:
        for other in LEVELS:
            if word in self.installed[other]:
                return f"{word} is a {other} filter: list it under {other}, not {level}"
        words = self.installed[level]
        known = ", ".join(words) or "none"
        near = nearest(word, words)
        return f"no such {level} filter is installed{near or ''}; installed: {known}"


def _import_path() -> Iterator[tuple[str, int]]:
    for folder in sys.path:
        with suppress(OSError):
            yield folder, os.stat(folder).st_mtime_ns


@lru_cache(maxsize=1)
def _declared(
    import_path: tuple[tuple[str, int], ...],
) -> Mapping[str, list[Entry]]:
    # Reading every distribution's entry points takes 5 ms for a hundred of them, which
    # a worker has not got at each reload; installing one touches its folder.
    return declared(GROUPS.values())


def _local(level: Level, word: str, beside: Path) -> Installed:
    if not re.fullmatch(r"[\w.]+:\w+", word):
        raise UnknownFilter("expected module:Class")
    # Last, so that nothing beside the file can stand in for an installed module.
    folder = str(beside.resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word.partition(":")[2]).lower()
    return Installed(name, level, Entry(name, word))
