from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tulle.cli import main

ENTRY = (
    "[meshfilters.request]\nbroken = broken_filter_of_a_test:Broken\nodd = os:path\n"
)
BARE = "[meshfilters.dial]\nbare = bare_filter_of_a_test:Bare\n"
CODE = "import attrs\n\n@attrs.frozen\nclass Bare:\n    def build(self, env): ...\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Python imports from, with two distributions of filters."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bare_filter_of_a_test", raising=False)
    for name, entry in (("broken", ENTRY), ("bare", BARE)):
        dist = tmp_path / f"{name}-2.0.dist-info"
        dist.mkdir()
        (dist / "METADATA").write_text(f"Name: {name}\nVersion: 2.0\n")
        (dist / "entry_points.txt").write_text(entry)
    (tmp_path / "broken_filter_of_a_test.py").write_text("raise ValueError('no luck')")
    (tmp_path / "bare_filter_of_a_test.py").write_text(CODE)
    return tmp_path


def filters(*arguments: str) -> str:
    # Wide, so that no sentence is broken over lines.
    result = CliRunner().invoke(main, ["filters", *arguments], env={"COLUMNS": "100"})

    assert result.exit_code == 0, result.output
    return result.output


def test_filters_are_listed_by_level_with_where_they_come_from() -> None:
    output = filters()
    levels = [line for line in output.splitlines() if line.endswith(" filters:")]

    assert levels == ["connection filters:", "request filters:", "dial filters:"]
    assert "  retry " in output
    assert "[tulle" in output


def test_a_filter_tells_its_keys() -> None:
    output = filters("timeout")

    assert output.startswith("timeout: a request filter (meshfilters.timeout:Timeout, ")
    assert "\nKeys:\n" in output
    assert "  idle " in output
    assert "a number or null; default null." in output


def test_a_filter_tells_where_it_must_stand() -> None:
    output = filters("metrics")

    assert "\nOrder:\n  must be listed before timeout: " in output


def test_a_key_that_must_be_given_is_told_so() -> None:
    assert "a map, each value a whole number; required." in filters("split")


def test_a_word_of_two_levels_is_told_twice() -> None:
    output = filters("tls")

    assert "tls: a connection filter" in output
    assert "\n\ntls: a dial filter" in output


def test_a_filter_that_cannot_be_imported_is_listed_as_broken(site: Path) -> None:
    output = " ".join(filters().split())

    assert "BROKEN: filter broken: broken_filter_of_a_test:Broken cannot be" in output
    assert "no luck [broken 2.0]" in output
    assert "BROKEN: filter odd: os:path is not an attrs class" in output


def test_a_broken_filter_shows_its_traceback(site: Path) -> None:
    output = filters("broken")

    assert "broken: a request filter (broken_filter_of_a_test:Broken" in output
    assert "ValueError: no luck" in output


def test_a_filter_with_nothing_to_say_says_that(site: Path) -> None:
    assert filters("bare").splitlines()[2:] == [
        "It has no description.",
        "",
        "It has no keys.",
    ]


def test_a_filter_whose_types_cannot_be_read_says_so(site: Path) -> None:
    code = CODE.replace("    def", "    when: 'Nowhere' = None\n    def")
    (site / "bare_filter_of_a_test.py").write_text(code)

    assert "cannot be read: name 'Nowhere' is not defined" in filters("bare")


def test_a_name_that_is_not_there_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["filters", "retri"])

    assert result.exit_code == 2
    assert "no filter is named retri; did you mean retry?" in result.output
