"""What the pages show is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_page_for_plugin_authors_shows_the_plugin_that_is_shipped() -> None:
    module, _, test = python_blocks(ROOT / "docs/filters.md")
    plugin = ROOT / "plugins/fair"

    assert module == (plugin / "tulle_fair.py").read_text()
    assert test in (plugin / "tests/test_tulle_fair.py").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    broken = [
        link
        for link in LINK.findall(page.read_text())
        if not (page.parent / link).exists()
    ]

    assert not broken


def test_contributors_are_told_of_every_program_that_a_check_installs() -> None:
    script = (ROOT / ".ci/run").read_text()
    (needed,) = re.findall(r"^needed=\((.*?)\)", script, re.DOTALL | re.MULTILINE)
    packages = {each.partition(":")[2] for each in needed.split()}
    page = (ROOT / "CONTRIBUTING.md").read_text()

    assert len(packages) > 10
    # Git is how they have come by the page.
    assert {each for each in packages if each not in page} <= {"git"}
