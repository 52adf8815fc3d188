from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.config.filters import BrokenFilter, Registry, UnknownFilter

if TYPE_CHECKING:
    from tests.proxy.config.conftest import Install

HERE = Path()


def test_a_filter_is_found_by_its_level_and_word(install: Install) -> None:
    install("idle", "idle_filter")
    found = Registry().find("request", "idle", HERE)

    assert (found.word, found.level) == ("idle", "request")
    assert found.distribution == "idle_filter 1.0"
    assert found.load().__name__ == "Filter"


def test_only_a_filter_that_is_loaded_is_imported(install: Install) -> None:
    install("idle", "idle_filter")
    Registry().find("request", "idle", HERE)

    assert "idle_filter" not in sys.modules


def test_an_unknown_word_is_told_with_what_is_near_and_what_is_there(
    install: Install,
) -> None:
    install("idle", "idle_filter", level="dial")

    with pytest.raises(
        UnknownFilter, match=r"did you mean idle\?; installed: idle, tls"
    ):
        Registry().find("dial", "idel", HERE)


def test_a_level_without_filters_has_none_installed() -> None:
    registry = Registry()
    registry.__dict__["installed"] = {"connection": {}, "request": {}, "dial": {}}

    with pytest.raises(UnknownFilter, match="is installed; installed: none"):
        registry.find("dial", "tls", HERE)


def test_a_filter_of_another_level_is_told_so() -> None:
    with pytest.raises(
        UnknownFilter, match="tls is a connection filter: list it under"
    ):
        Registry().find("request", "tls", HERE)


def test_a_word_that_two_distributions_claim_is_refused(install: Install) -> None:
    install("idle", "idle_filter")
    install("idle", "other_filter")

    with pytest.raises(UnknownFilter, match=r"idle_filter 1\.0, other_filter 1\.0"):
        Registry().find("request", "idle", HERE)


def test_a_filter_that_is_seen_twice_is_no_clash(install: Install) -> None:
    install("idle", "idle_filter")
    install("idle", "idle_filter", by="idle_again")

    assert Registry().find("request", "idle", HERE).word == "idle"


@pytest.mark.parametrize(
    "code", ["import nothing_of_that_name", "1 +", "raise SystemExit(1)", "x = 1"]
)
def test_a_filter_that_cannot_be_imported_has_its_name_and_traceback(
    code: str, install: Install
) -> None:
    install("idle", "idle_filter", code)

    with pytest.raises(BrokenFilter, match="filter idle: idle_filter:Filter") as raised:
        Registry().find("request", "idle", HERE).load()
    assert raised.value.detail.startswith("Traceback")


@pytest.mark.parametrize(
    "code",
    [
        "Filter = 1",
        "class Filter:\n    def build(self, env): ...\n",
        "import attrs\n@attrs.frozen\nclass Filter: ...\n",
    ],
)
def test_what_is_not_an_attrs_class_with_build_is_no_filter(
    code: str, install: Install
) -> None:
    install("idle", "idle_filter", code)

    with pytest.raises(BrokenFilter, match="is not an attrs class with a build method"):
        Registry().find("request", "idle", HERE).load()


def test_a_class_that_only_lacks_its_decorator_is_told_so(install: Install) -> None:
    install("idle", "idle_filter", "class Filter:\n    def build(self, env): ...\n")

    with pytest.raises(BrokenFilter, match=r"method; put @attrs.frozen above it$"):
        Registry().find("request", "idle", HERE).load()


def test_a_class_beside_the_file_needs_no_installing(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    code = (
        "import attrs\n@attrs.frozen\nclass MyHTTPFilter:\n    def build(s, e): ...\n"
    )
    (tmp_path / "beside_filter.py").write_text(code)
    found = Registry().find("request", "beside_filter:MyHTTPFilter", tmp_path)
    again = Registry().find("request", "beside_filter:MyHTTPFilter", tmp_path)

    assert found == again
    assert found.word == "my_httpfilter"
    assert found.distribution == "no distribution"
    assert found.load().__name__ == "MyHTTPFilter"
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize("word", ["module:", ":Class", "a/b:Class", "a:B:C"])
def test_a_colon_means_module_and_class(word: str) -> None:
    with pytest.raises(UnknownFilter, match="expected module:Class"):
        Registry().find("request", word, HERE)


def test_what_is_installed_is_read_again_when_something_was_installed(
    install: Install,
) -> None:
    install("idle", "idle_filter")
    first, second = Registry().installed, Registry().installed
    site = Path(sys.path[0])
    (site / "idle_filter-1.0.dist-info" / "entry_points.txt").unlink()
    os.utime(site, ns=(0, 0))

    assert first["request"]["idle"] == second["request"]["idle"]
    assert "idle" not in Registry().installed["request"]


def test_a_folder_that_is_gone_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "gone")

    assert "tls" in Registry().installed["dial"]
