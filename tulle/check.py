"""``tulle check``: say what is wrong with a file, or what it means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from proxy.config import ConfigErrors, load
from proxy.config.model import ByHost, ByOriginal, Config, Listener, Placed

EXAMPLES = """\b
Example:
  tulle check -c mesh.yaml && tulle proxy -c mesh.yaml
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="The configuration to check.",
)
def check(config: Path) -> None:
    """Say everything that is wrong with a FILE, or what the FILE means.

    Opens no socket and starts nothing, but imports the filters that the file names.
    Each problem is one line: file, line, path, the value found, what was expected.
    """
    try:
        loaded = load(config)
    except ConfigErrors as errors:
        for problem in errors.problems:
            click.echo(str(problem))
        count = len(errors.problems)
        click.echo(f"{count} problem{'s' if count > 1 else ''} in {config}", err=True)
        raise SystemExit(errors.exit_code) from None
    click.echo(f"{config}: ok")
    for line in _meaning(loaded):
        click.echo(line)


def _meaning(config: Config) -> Iterator[str]:
    for listener in config.listeners.values():
        yield from _listener(listener)
    for service in config.services.values():
        told = [] if service.protocol == "auto" else [service.protocol]
        yield f"service {service.name}: {', '.join([*told, *service.endpoints])}"
        if service.addresses:
            yield f"  addresses: {', '.join(service.addresses)}"
        yield from _chain("dial", service.dial)
    yield f"workers: {config.workers}"
    yield f"admin: {config.admin or 'none'}"


def _listener(listener: Listener) -> Iterator[str]:
    addresses = ", ".join(listener.address)
    yield f"listener {listener.name}: {listener.protocol}, {listener.direction}, {addresses}"
    yield from _chain("connection", listener.connection)
    yield from _chain("request", listener.request)
    yield f"  to: {_to(listener.to)}"


def _to(to: str | ByHost | ByOriginal) -> str:
    if isinstance(to, str):
        return to
    if isinstance(to, ByHost):
        return "the service named by Host"
    return "the service that has the original address, or the address itself"


def _chain(level: str, placed: Sequence[Placed]) -> Iterator[str]:
    if placed:
        yield f"  {level}: {' > '.join(each.name for each in placed)}"
