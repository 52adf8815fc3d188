"""What the installed distribution says it has is there."""

from __future__ import annotations

from importlib.metadata import EntryPoint, distribution

import attrs
import pytest

FILTERS = [
    each
    for each in distribution("tulle").entry_points
    if each.group.startswith("meshfilters.")
]


@pytest.fixture(params=FILTERS, ids=lambda each: f"{each.group}:{each.name}")
def entry(request: pytest.FixtureRequest) -> EntryPoint:
    found = request.param
    assert isinstance(found, EntryPoint)
    return found


def test_there_are_filters_at_every_level() -> None:
    levels = {each.group.removeprefix("meshfilters.") for each in FILTERS}

    assert levels == {"connection", "request", "dial"}


def test_a_filter_is_named_as_its_module(entry: EntryPoint) -> None:
    assert entry.module == f"meshfilters.{entry.name}"


def test_a_filter_is_a_frozen_class_that_builds(entry: EntryPoint) -> None:
    settings = entry.load()

    assert attrs.has(settings)
    assert settings.__setattr__ is not object.__setattr__
    assert callable(getattr(settings, "build", None))


def test_a_filter_says_what_it_does(entry: EntryPoint) -> None:
    assert entry.load().__doc__


def test_the_command_is_there() -> None:
    (script,) = distribution("tulle").entry_points.select(group="console_scripts")

    assert script.name == "tulle"
    assert callable(script.load())
