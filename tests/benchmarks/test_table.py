from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks.summary import Line, summarise
from benchmarks.table import number, table
from tests.benchmarks.making import measured


def printed(line: Line) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(table([line], {"tulle": "0.1.0 on Python 3.13.5"}))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_a_peer_s_line_says_how_many_times_as_dear_tulle_is() -> None:
    text = printed(summarise(measured({"tulle": [30.0], "haproxy": [20.0]})))

    assert "1.50 ×" in text


def test_who_failed_is_named_with_the_reason() -> None:
    runs = measured({"tulle": [30.0]})
    runs.failed["nginx"] = "90 errors"

    assert "failed: 90 errors" in printed(summarise(runs))


def test_what_was_measured_is_said_below() -> None:
    text = printed(summarise(measured({"tulle": [30.0]})))

    assert "tulle: 0.1.0 on Python 3.13.5" in text


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (57.55, "57.5"), (1.234, "1.23")]
)
def test_numbers_have_as_many_digits_as_are_of_use(value: float, text: str) -> None:
    assert number(value) == text
