"""Header names in every spelling an application may take for the same one."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from meshfilters.headers import FRAMING

_PATTERN = re.compile(r"[A-Za-z0-9-]+\*?")
_REMEMBERED = 1024
_LONGEST = 64

# One spelling of all: lower case, every sign a hyphen. CGI has `_` for `-`, and some
# servers have it for any other sign.
_ONE = bytes(
    byte if chr(byte).isascii() and chr(byte).isalnum() else ord("-")
    for byte in range(256)
).lower()


class Spellings:
    """The header names that match some patterns, ``x-forwarded-*`` or whole names."""

    __slots__ = ("_harmless", "_names", "_starts")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        spelled = [pattern.encode().lower() for pattern in patterns]
        self._names = frozenset(spelled)
        self._starts = tuple(each[:-1] for each in spelled if each.endswith(b"*"))
        self._harmless: set[bytes] = set()

    def __contains__(self, name: bytes) -> bool:
        spelled = name.translate(_ONE)
        return spelled in self._names or spelled.startswith(self._starts)

    def has_any(self, names: Mapping[bytes, bytes]) -> bool:
        """Whether one of the names matches; those that do not are remembered."""
        if names.keys() <= self._harmless:
            return False
        strange = [name for name in names if name not in self._harmless]
        if any(name in self for name in strange):
            return True
        if len(self._harmless) >= _REMEMBERED:
            self._harmless.clear()
        self._harmless.update(name for name in strange if len(name) <= _LONGEST)
        return False


def check_patterns(
    instance: object,
    attribute: attrs.Attribute[tuple[str, ...]],
    patterns: tuple[str, ...],
) -> None:
    """Refuse what is no header name, and what would strip a name requests need."""
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(
                f"{pattern!r} is not a header name, or the start of one and *"
            )
        spellings = Spellings((pattern,))
        for name in sorted(FRAMING):
            if name.encode() in spellings:
                raise ValueError(f"{pattern} would strip {name}, which requests need")
