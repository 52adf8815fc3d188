"""docs/performance.md shows the set-ups that are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers import SETUPS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/performance.md"
SHOWN = sorted(SETUPS.glob("*/http.*"))


@pytest.mark.parametrize("setup", SHOWN, ids=[each.parent.name for each in SHOWN])
def test_the_page_shows_each_set_up_as_it_is(setup: Path) -> None:
    assert f"```\n{setup.read_text()}```" in PAGE.read_text()


def test_the_page_links_to_every_set_up() -> None:
    page = PAGE.read_text()
    files = [each for each in SETUPS.rglob("*") if each.is_file()]

    assert len(files) > len(SHOWN)
    assert [f for f in files if f"](../{f.relative_to(ROOT)})" not in page] == []
