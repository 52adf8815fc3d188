"""Distributions with filters, installed for one test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FILTER = """
import attrs

@attrs.frozen
class Filter:
    '''Does nothing, in a few words.

    And more of them.
    '''

    limit: int = 3
    '''How much of it.'''

    def build(self, env):
        raise AssertionError("nothing here is built")
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install ``module`` with ``code``, declared as a filter by a distribution."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)

    def install(
        word: str,
        module: str,
        code: str = FILTER,
        *,
        level: str = "request",
        name: str = "Filter",
        by: str | None = None,
    ) -> None:
        (site / f"{module}.py").write_text(code)
        dist = site / f"{by or module}-1.0.dist-info"
        dist.mkdir()
        (dist / "METADATA").write_text(f"Name: {by or module}\nVersion: 1.0\n")
        entry = f"[meshfilters.{level}]\n{word} = {module}:{name}\n"
        (dist / "entry_points.txt").write_text(entry)

    yield install
    for module in set(sys.modules) - before:
        del sys.modules[module]
