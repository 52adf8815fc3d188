from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks import machine
from benchmarks.__main__ import UNFIT, chosen, main
from benchmarks.loads.open_loop import FOR_P999, OpenLoop
from benchmarks.rows import ROWS
from benchmarks.run import seconds_of


def names(*named: str, quick: bool = False, every: bool = False) -> list[str]:
    return [row.name for row in chosen(named, quick, every, False)]


def test_what_is_named_is_measured_whatever_else_is_said() -> None:
    assert names("tcp", "h1", every=True) == ["tcp", "h1"]


def test_a_row_that_is_not_there_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="no row h9"):
        names("h9")


def test_quick_is_a_part_of_the_default_and_that_of_all() -> None:
    assert set(names(quick=True)) < set(names()) < set(names(every=True))
    assert len(names(every=True)) == len(ROWS)


def test_with_all_there_are_samples_enough_for_a_rare_percentile() -> None:
    rows = [row for row in chosen([], False, True, False) if "p999" in row.figures]

    assert [row.name for row in rows] == ["latency-200", "latency-2000"]
    for row in rows:
        assert isinstance(row.load, OpenLoop)
        assert row.load.rate * seconds_of(row, 1) >= FOR_P999


def test_a_named_row_takes_longer_with_all_only() -> None:
    (usual,) = chosen(["latency-200"], False, False, False)
    (long,) = chosen(["latency-200"], False, True, False)

    assert (seconds_of(usual, 2), seconds_of(long, 2)) == (2, 50)


def test_the_gate_has_rows_of_its_own() -> None:
    assert all(row.is_gated for row in chosen([], True, False, True))


@pytest.mark.parametrize(
    ("options", "is_sought"), [([], True), (["--all"], True), (["--quick"], False)]
)
def test_a_newer_python_is_sought_where_there_is_time_for_it(
    options: list[str], is_sought: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(cores: machine.Cores) -> None:
        raise machine.Unfit("not here")

    monkeypatch.setattr(machine, "prepare", refuse)
    monkeypatch.setattr(machine, "cores", lambda allowed: machine.Cores(0, 1, (0,)))
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(main, options)

    assert result.exit_code == UNFIT
    assert ("Tulle on Python 3.13 is skipped" in result.output) is is_sought
    assert "needs two cores to itself" in result.output


def test_rows_are_listed_without_measuring_any() -> None:
    result = CliRunner().invoke(main, ["--list"])

    assert result.exit_code == 0
    assert len(result.output.splitlines()) == len(ROWS)
