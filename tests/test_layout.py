"""The rules of the house that a reader can see from the files alone."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("meshfilters", "proxy", "controlplane", "tulle")

MAY_IMPORT = {
    "meshfilters": {"meshfilters"},
    "proxy": {"meshfilters", "proxy"},
    "controlplane": {"meshfilters", "proxy", "controlplane"},
    "tulle": set(PACKAGES),
    "plugins": {"meshfilters"},
}

OVER_500_LINES: set[str] = set()
"""Modules excused from the house's limit. Only ever gets shorter."""

SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
DOES_IO = {"trio", "socket", "ssl", "select", "selectors", "OpenSSL"}


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    return [each for each in found if not {"tests", "build"} & set(each.parts)]


def imported(source: Path) -> Iterator[str]:
    """Every module that ``source`` imports, at whatever depth, by its full name."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def tops(source: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(source)}


def name_of(source: Path) -> str:
    return str(source.relative_to(ROOT))


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


ALL = [source for folder in PACKAGES for source in sources(folder)]
TESTED = [each for each in ALL if not each.stem.startswith("__")]


def without_a_test() -> set[str]:
    return {
        name_of(source)
        for source in TESTED
        if not (
            ROOT / "tests" / source.relative_to(ROOT).parent / f"test_{source.name}"
        ).is_file()
    }


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_point_one_way(folder: str) -> None:
    wrong = {
        name_of(source): tops(source) & (set(PACKAGES) - MAY_IMPORT[folder])
        for source in sources(folder)
    }

    assert sources(folder)
    assert not {name: found for name, found in wrong.items() if found}


def test_what_is_imported_is_required() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    required = {
        line.split()[0].lower()
        for key in ("install_requires", "grpc")
        for section in ("options", "options.extras_require")
        for line in setup.get(section, key, fallback="").splitlines()
        if line and not line.startswith("#")
    }
    distributions = packages_distributions()
    foreign = {name for source in ALL for name in tops(source)}
    foreign -= {*sys.stdlib_module_names, *PACKAGES}

    without = {
        name
        for name in foreign
        if not required & {normal(each) for each in distributions.get(name, ())}
    }

    assert foreign
    assert not without


def test_codecs_do_no_io() -> None:
    wrong = {
        name_of(source): tops(source) & DOES_IO for source in sources("proxy/codec")
    }

    assert wrong
    assert not {name: found for name, found in wrong.items() if found}


def test_every_module_has_a_test_file_of_its_name() -> None:
    assert not without_a_test()


def test_names_of_modules_say_what_is_in_them() -> None:
    assert not [name_of(each) for each in ALL if each.stem in SAYS_NOTHING]


def test_every_module_says_what_it_is() -> None:
    silent = [
        name_of(each)
        for each in ALL
        if not ast.get_docstring(ast.parse(each.read_text()))
    ]

    assert not silent


def test_the_contract_has_no_any() -> None:
    wrong = [
        f"{name_of(source)}:{node.lineno}"
        for source in sources("meshfilters")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Name) and node.id == "Any"
    ]

    assert not wrong


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {name_of(each): len(each.read_text().splitlines()) for each in ALL}

    assert {name for name, lines in lengths.items() if lines > 500} == OVER_500_LINES
