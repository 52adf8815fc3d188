from __future__ import annotations

import pytest
from click.testing import CliRunner

from tulle.cli import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_tulle(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])

    assert result.exit_code == 0
    assert f"_TULLE_COMPLETE={shell}_complete" in result.output


def test_another_shell_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["completion", "csh"])

    assert result.exit_code == 2
    assert "'csh' is not one of" in result.output


def test_commands_are_completed() -> None:
    asked = {
        "COMP_WORDS": "tulle pr",
        "COMP_CWORD": "1",
        "_TULLE_COMPLETE": "bash_complete",
    }
    result = CliRunner().invoke(main, [], env=asked, prog_name="tulle")

    assert result.output == "plain,proxy\n"
