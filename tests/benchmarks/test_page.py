"""docs/performance.md shows the set-ups that are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gate import YARDSTICK
from benchmarks.peers import SETUPS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/performance.md"
COMPARED = [each for each in SETUPS.iterdir() if each.name != YARDSTICK.name]
SHOWN = sorted(file for each in COMPARED for file in each.glob("http.*"))


@pytest.mark.parametrize("setup", SHOWN, ids=[each.parent.name for each in SHOWN])
def test_the_page_shows_each_set_up_as_it_is(setup: Path) -> None:
    assert f"```\n{setup.read_text()}```" in PAGE.read_text()


def test_the_page_links_to_every_set_up() -> None:
    page = PAGE.read_text()
    files = [
        file
        for each in COMPARED
        for file in (each.iterdir() if each.is_dir() else [each])
    ]

    assert len(files) > len(SHOWN)
    assert [f for f in files if f"](../{f.relative_to(ROOT)})" not in page] == []
