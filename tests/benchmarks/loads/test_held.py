from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.loads import held
from benchmarks.loads.held import HELD, wait_held
from benchmarks.loads.load import Failed


def test_what_the_origin_says_is_how_many_it_has(tmp_path: Path) -> None:
    (tmp_path / HELD).write_text("300")

    assert held.held(tmp_path) == 300


def test_what_it_is_just_writing_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / HELD).touch()

    assert held.held(tmp_path) == 0


def test_it_waits_until_all_requests_are_there() -> None:
    found = [0, 150, 300, 400]

    wait_held(lambda: found.pop(0), 300, pause=0)

    assert found == [400]


def test_requests_that_do_not_arrive_fail_the_run() -> None:
    with pytest.raises(Failed, match="299 of 300 requests reached the origin"):
        wait_held(lambda: 299, 300, patience=0)
