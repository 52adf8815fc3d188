"""What is wrong with a configuration: every problem with its place, told together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from meshfilters.errors import ConfigError

Path = tuple[str | int, ...]
"""Keys and places from the top of the file: ("listeners", "inbound", "request", 2)."""


def dotted(path: Path) -> str:
    """Write a path as users read it: ``listeners.inbound.request[2]``."""
    parts = (f"[{each}]" if isinstance(each, int) else f".{each}" for each in path)
    return "".join(parts).removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?", or nothing where no known word is near."""
    # Nobody needs it who makes no mistake.
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


@attrs.frozen
class Problem:
    """One thing that is wrong, and where."""

    file: str
    line: int
    """Counted from 1; 0 where it concerns the file as a whole."""
    path: str
    found: str
    """The value as the file has it; empty where there is none."""
    wanted: str
    detail: str = ""
    """More lines, such as a traceback."""
    is_broken_filter: bool = False
    """Whether a filter's own code failed, which no edit of the file would mend."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        parts = (place, self.path, self.found, self.wanted)
        text = ": ".join(part for part in parts if part)
        return f"{text}\n{self.detail.rstrip()}" if self.detail else text


class ConfigErrors(ConfigError):
    """A configuration that cannot work, with every reason."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)

    @property
    def exit_code(self) -> int:
        """2, or 3 where the file is right and a filter's code cannot be had."""
        return 3 if all(each.is_broken_filter for each in self.problems) else 2
