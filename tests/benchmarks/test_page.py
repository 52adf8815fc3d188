"""docs/performance.md shows the set-ups that are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers import SETUPS

PAGE = Path(__file__).parents[2] / "docs/performance.md"


SHOWN = sorted(SETUPS.glob("*/http.*"))


@pytest.mark.parametrize("setup", SHOWN, ids=[each.parent.name for each in SHOWN])
def test_the_page_shows_each_set_up_as_it_is(setup: Path) -> None:
    assert f"```\n{setup.read_text()}```" in PAGE.read_text()
