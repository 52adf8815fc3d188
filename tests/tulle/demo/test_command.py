from __future__ import annotations

import sys

import pytest
import trio
from click.testing import CliRunner, Result

from tulle.cli import main
from tulle.demo import run as running
from tulle.demo.children import Ended
from tulle.demo.display import Board, Display, Lines


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the demo was asked to do; it does nothing."""
    asked: list[object] = []

    async def run(rate: float, seconds: float | None, display: Display) -> None:
        await trio.lowlevel.checkpoint()
        asked.extend([rate, seconds, type(display)])

    monkeypatch.setattr(running, "run", run)
    return asked


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> Result:
    async def run(rate: float, seconds: float | None, display: Display) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    monkeypatch.setattr(running, "run", run)
    return CliRunner().invoke(main, ["demo"])


def test_without_options_it_runs_until_it_is_ended(asked: list[object]) -> None:
    result = CliRunner().invoke(main, ["demo"])

    assert result.exit_code == 0
    # The runner's output is no terminal.
    assert asked == [200.0, None, Lines]


def test_a_terminal_gets_the_table(
    asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    CliRunner().invoke(main, ["demo", "--seconds", "3", "--rate", "20"])
    CliRunner().invoke(main, ["demo", "--plain"])

    assert asked == [20.0, 3.0, Board, 200.0, None, Lines]


@pytest.mark.parametrize(
    "words", [["--seconds", "0"], ["--rate", "0"], ["--rate", "9999"], ["now"]]
)
def test_what_makes_no_sense_is_a_usage_error(
    asked: list[object], words: list[str]
) -> None:
    assert CliRunner().invoke(main, ["demo", *words]).exit_code == 2
    assert asked == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Ended("sidecar of web ended with exit code 3"), "sidecar of web ended"),
        (PermissionError(13, "Permission denied", "somewhere"), "Permission denied"),
    ],
)
def test_what_keeps_it_from_running_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    result = failing(monkeypatch, error)

    assert result.exit_code == 3
    assert result.stderr.startswith("tulle demo: ")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reader_that_has_gone_is_no_complaint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = failing(monkeypatch, BrokenPipeError(32, "Broken pipe"))

    assert result.exit_code == 1
    assert result.stderr == ""


def test_a_module_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "tulle.demo.mesh")
    monkeypatch.delitem(sys.modules, "tulle.demo.run")
    monkeypatch.delitem(sys.modules, "tulle.demo.authority")
    monkeypatch.setitem(sys.modules, "cryptography", None)

    result = CliRunner().invoke(main, ["demo"])

    assert result.exit_code == 3
    assert "the module cryptography is missing" in result.stderr
