from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from meshfilters import __version__
from tulle.cli import COMMANDS, main


def test_the_version_is_the_packages() -> None:
    result = CliRunner().invoke(main, ["--version"])

    assert result.output == f"tulle, version {__version__}\n"


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])

    assert result.exit_code == 0
    assert all(f"\n  {name} " in result.output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str) -> None:
    result = CliRunner().invoke(main, [name, "-h"])

    assert result.exit_code == 0
    assert "Example" in result.output


def test_a_command_that_is_not_there_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["prox"])

    assert result.exit_code == 2
    assert "No such command 'prox'" in result.output


def test_commands_are_listed_in_order() -> None:
    context = click.Context(main)

    assert main.list_commands(context) == sorted(COMMANDS)


def test_a_command_imports_what_it_needs_and_no_more() -> None:
    code = (
        "import sys; from tulle.cli import main\n"
        "try: main(['completion', 'bash'])\n"
        "except SystemExit: pass\n"
        "print({'proxy', 'trio', 'rich', 'OpenSSL'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "set()"
