"""``tulle proxy``: run the data plane in the foreground."""

from __future__ import annotations

import os
from pathlib import Path

import click

from meshfilters.errors import ConfigError
from proxy.config import ConfigErrors, default_config, read_text
from proxy.config.address import parse_address
from proxy.config.render import FORMS

RESUME = "TULLE_RESUME"
"""Set by a supervisor that executes itself anew: it knows everything by itself."""

EXAMPLES = """\b
Examples:
  tulle proxy -c mesh.yaml
  tulle proxy --listen 127.0.0.1:8080 --to 127.0.0.1:9000
  tulle proxy --listen 127.0.0.1:8080 --to https://api.example.org:443
  tulle proxy --listen 127.0.0.1:8080 --to h2c://127.0.0.1:50051
  tulle proxy --listen 0.0.0.0:5432 --to tcp://db.local:5432 --workers 2
  tulle proxy --listen '[::]:80' --to 127.0.0.1:9000 --print-config > mesh.yaml
"""


def _address(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    if value is not None:
        try:
            parse_address(value)
        except ValueError as error:
            raise click.BadParameter(f"{value!r}: {error}") from error
    return value


@click.command(epilog=EXAMPLES)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What to proxy, and through what.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    callback=_address,
    help="Without a file: where. What clients speak there is detected.",
)
@click.option(
    "--to",
    metavar="[SCHEME://]HOST:PORT",
    help=f"Without a file: where everything is sent. SCHEME is one of {FORMS}: "
    "HTTP/1.1 (http), HTTP/2 (h2c, grpc), TLS (https) or bytes (tcp); without one it is "
    "what the client speaks.",
)
@click.option(
    "--admin",
    metavar="HOST:PORT",
    callback=_address,
    help="Without a file: where /metrics, /ready, /chain and /stats are.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Without a file: how many processes share the traffic (1).",
)
@click.option(
    "--print-config", is_flag=True, help="Print the file that --listen stands for."
)
def proxy(
    config: Path | None,
    listen: str | None,
    to: str | None,
    admin: str | None,
    workers: int | None,
    print_config: bool,
) -> None:
    """Run the proxy in the foreground, as a sidecar would.

    Reads a FILE, or proxies one address to another with the default chain.
    SIGHUP and a changed file load the file again; SIGTERM lets requests finish.
    """
    if RESUME in os.environ:
        raise SystemExit(_run("", None))
    if config is not None:
        if listen or to or admin or workers or print_config:
            raise click.UsageError(
                "-c says everything: the other options go with --listen"
            )
        text = _text(config)
    elif listen is None or to is None:
        raise click.UsageError("give -c FILE, or --listen and --to")
    else:
        text = _stands_for(listen, to, admin, workers or 1)
    if print_config:
        click.echo(text, nl=False)
    else:
        raise SystemExit(_run(text, config))


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except ConfigErrors as errors:
        click.echo(str(errors), err=True)
        raise SystemExit(errors.exit_code) from None


def _stands_for(listen: str, to: str, admin: str | None, workers: int) -> str:
    try:
        return default_config(listen, to, admin, workers)
    except ValueError as error:
        raise click.BadParameter(f"{to!r}: {error}", param_hint="--to") from error


def _run(text: str, path: Path | None) -> int:
    # Only who proxies imports the data plane: --help and --print-config do not.
    from proxy.supervisor.supervisor import run

    try:
        return run(text, path)
    except ConfigError as error:
        click.echo(str(error), err=True)
        return error.exit_code if isinstance(error, ConfigErrors) else 2
