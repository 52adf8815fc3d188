"""What must and must not type-check in a plugin, judged by mypy itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
REPORTED = re.compile(r"^(?P<path>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[\w-]+)\]$")
EXPECTED = re.compile(r"# E: (?P<code>[\w-]+)$")

pytestmark = pytest.mark.slow

Errors = set[tuple[str, int, str]]


@pytest.fixture(scope="module")
def reported() -> Errors:
    snippets = [str(each) for each in sorted(HERE.glob("*/*.py"))]
    output, trouble, _ = api.run(["--config-file", str(ROOT / "setup.cfg"), *snippets])
    assert not trouble
    return {
        (Path(found["path"]).parent.name, int(found["line"]), found["code"])
        for found in map(REPORTED.match, output.splitlines())
        if found
    }


def test_what_is_right_is_accepted(reported: Errors) -> None:
    assert not {each for each in reported if each[0] != "bad"}


def test_what_is_wrong_is_reported_where_it_stands(reported: Errors) -> None:
    (snippet,) = HERE.glob("bad/*.py")
    expected = {
        ("bad", number, found["code"])
        for number, line in enumerate(snippet.read_text().splitlines(), 1)
        if (found := EXPECTED.search(line))
    }

    assert expected
    assert {each for each in reported if each[0] == "bad"} == expected
