"""The ``tulle`` command: finds a subcommand's module when it is called, not before."""

from __future__ import annotations

from importlib import import_module

import click

from meshfilters import __version__

COMMANDS = {
    "check": "tulle.check:check",
    "completion": "tulle.completion:completion",
    "demo": "tulle.demo.command:demo",
    "filters": "tulle.filters:filters",
    "proxy": "tulle.proxy:proxy",
    "redirect": "tulle.redirect:redirect",
}
"""A subcommand's word, and where its click command is."""

EXAMPLES = """\b
Examples:
  tulle proxy --listen 127.0.0.1:8080 --to 127.0.0.1:9000
  tulle check -c mesh.yaml && tulle proxy -c mesh.yaml
  tulle filters retry
"""


class Lazy(click.Group):
    """A group whose commands are imported one by one, as they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every subcommand."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand, or return None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=Lazy,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="tulle")
def main() -> None:
    """A service mesh whose data plane you program in Python.

    Exit codes: 0 all is well, 2 the configuration or the command line is wrong,
    3 what was asked for could not be started.
    """
