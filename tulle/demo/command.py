"""``tulle demo``: a mesh at work, in seconds, on this machine."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import NoReturn

import click

EXAMPLES = """\b
Examples:
  tulle demo
  tulle demo --rate 500
  tulle demo --seconds 10 --plain | tee demo.log
"""

CANNOT_START = 3


@click.command(epilog=EXAMPLES)
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    metavar="N",
    help="End by itself after N seconds; otherwise Ctrl-C ends it.",
)
@click.option(
    "--plain",
    is_flag=True,
    help="Print lines and no moving table, as is done when this is no terminal.",
)
@click.option(
    "--rate",
    type=click.FloatRange(1, 2000),
    default=200.0,
    show_default=True,
    metavar="N",
    help="Requests a second that the client makes.",
)
def demo(seconds: float | None, plain: bool, rate: float) -> None:
    """Show a mesh at work: real processes, real mutual TLS, on loopback.

    A client calls web, web calls api, and api comes in two versions of which one
    fails now and then. Each has a sidecar of its own. Nothing is left behind.
    """
    try:
        # Only who looks at the demo imports what draws it and what signs certificates.
        import trio
        from rich.console import Console

        from tulle.demo.children import Ended
        from tulle.demo.display import Board, Lines
        from tulle.demo.mesh import NotReady
        from tulle.demo.run import run
        from tulle.demo.scrape import NoAnswer
    except ModuleNotFoundError as error:
        _fail(f"the module {error.name} is missing: pip install it, or Tulle anew")
    if isinstance(sys.stdout, TextIOWrapper):
        # Arrows and bars are no reason to fail where the encoding has none.
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    display = Lines(console) if plain or not console.is_terminal else Board(console)
    try:
        trio.run(run, rate, seconds, display)
    except BrokenPipeError:
        # click knows what to do when nobody reads on.
        raise
    except (Ended, NotReady, NoAnswer, OSError) as error:
        _fail(str(error))


def _fail(sentence: str) -> NoReturn:
    click.echo(f"tulle demo: {sentence}", err=True)
    raise SystemExit(CANNOT_START)
