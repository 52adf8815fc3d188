"""Marks every test by its folder, and has Hypothesis try the same examples each time."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).parent

hypothesis.settings.register_profile("tulle", derandomize=True, deadline=None)
hypothesis.settings.load_profile("tulle")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for folder in ("wire", "processes"):
            if (TESTS / folder) in item.path.parents:
                item.add_marker(folder)
