"""What the pages show is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trio

from meshfilters.api import chain
from meshfilters.errors import Refused
from meshfilters.exchange import Connection
from meshfilters.testing import Kit

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_page_for_plugin_authors_shows_the_plugin_that_is_shipped() -> None:
    module, _, _, test = python_blocks(ROOT / "docs/filters.md")
    plugin = ROOT / "plugins/fair"

    assert module == (plugin / "tulle_fair.py").read_text()
    assert test in (plugin / "tests/test_tulle_fair.py").read_text()


def test_the_filter_of_connections_that_is_shown_runs() -> None:
    shown: dict[str, Any] = {}
    exec(python_blocks(ROOT / "docs/filters.md")[2], shown)
    kit = Kit()
    met: list[str] = []

    async def inner(connection: Connection, /) -> None:
        met.append(connection.client)

    async def connect() -> None:
        service = chain([shown["Deny"](network="192.0.2.0/24").build(kit.env)], inner)
        for client in ("10.0.0.1:80", "[::1]:80", "unix"):
            await service(kit.connection(client=client))
        with pytest.raises(Refused, match=r"192\.0\.2\.1 may not connect"):
            await service(kit.connection())

    trio.run(connect)
    assert met == ["10.0.0.1:80", "[::1]:80", "unix"]
    with pytest.raises(ValueError, match="anywhere"):
        shown["Deny"](network="anywhere")


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


def test_every_metric_with_a_name_of_its_own_is_documented() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    sources = [*(ROOT / "proxy").rglob("*.py"), *(ROOT / "meshfilters").rglob("*.py")]
    names = {
        name
        for source in sources
        for name in re.findall(
            r'"((?:tulle|tcp|process|proxy)_\w+)"', source.read_text()
        )
    }

    assert len(names) > 10
    assert {each for each in names if f"`{each}`" not in page} == set()
