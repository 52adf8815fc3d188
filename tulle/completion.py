"""``tulle completion``: the script that teaches a shell the commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

EXAMPLES = """\b
Examples:
  echo 'eval "$(tulle completion bash)"' >> ~/.bashrc
  echo 'eval "$(tulle completion zsh)"' >> ~/.zshrc
  tulle completion fish > ~/.config/fish/completions/tulle.fish
"""


@click.command(epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a SHELL."""
    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root()
    # Not through an instance of click's BashComplete.source(): it runs bash to learn
    # its version, and the script is wanted where it will run, not where it is made.
    script = kind(root.command, {}, "tulle", "_TULLE_COMPLETE")
    click.echo(script.source_template % script.source_vars())
