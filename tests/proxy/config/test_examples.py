"""Every example is a file that Tulle takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.config import load

EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = sorted(each.relative_to(EXAMPLES) for each in EXAMPLES.rglob("*.yaml"))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples, with the certificates that they need."""
    copy = tmp_path_factory.mktemp("examples") / "examples"
    shutil.copytree(EXAMPLES, copy)
    subprocess.run([copy / "mtls/certificates.sh"], check=True, capture_output=True)
    return copy


def test_there_are_examples() -> None:
    assert len(FILES) >= 9


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_example_loads(
    file: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])

    assert load(examples / file).listeners


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_example_says_how_to_run_it(file: Path) -> None:
    head = (EXAMPLES / file).read_text().partition("version: 1")[0]

    assert all(line.startswith("#") for line in head.splitlines())
    assert "tulle proxy -c" in head or "how to run" in head
