"""``tulle filters``: what is installed, and what each filter wants to be told."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from shutil import get_terminal_size

import click

from proxy.config.filters import BrokenFilter, Installed, Registry
from proxy.config.problems import nearest
from tulle.settings import Key, keys, rules

EXAMPLES = """\b
Examples:
  tulle filters
  tulle filters retry
"""


@click.command(epilog=EXAMPLES)
@click.argument("name", required=False)
def filters(name: str | None) -> None:
    """List the installed filters, or everything there is to know of one.

    A filter is installed with the distribution that declares it in one of the
    entry-point groups meshfilters.connection, meshfilters.request, meshfilters.dial.
    """
    installed = [
        each
        for words in Registry().installed.values()
        for several in words.values()
        for each in several
    ]
    if name is None:
        _list(installed)
        return
    found = [each for each in installed if each.word == name]
    if not found:
        near = nearest(name, {each.word for each in installed})
        raise click.BadParameter(f"no filter is named {name}{near}", param_hint="NAME")
    click.echo("\n\n".join("\n".join(_tell(each)) for each in found))


def _list(installed: list[Installed]) -> None:
    formatter = click.HelpFormatter(width=_width())
    levels = dict.fromkeys(each.level for each in installed)
    for level in levels:
        rows = [(each.word, _line(each)) for each in installed if each.level == level]
        with formatter.section(f"{level} filters"):
            formatter.write_dl(sorted(rows))
    click.echo(formatter.getvalue(), nl=False)


def _line(installed: Installed) -> str:
    try:
        doc = inspect.getdoc(installed.load()) or ""
    except BrokenFilter as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        doc = f"BROKEN: {error}{cause}"
    first = doc.partition("\n")[0]
    return f"{first} [{installed.distribution}]"


def _tell(installed: Installed) -> Iterator[str]:
    entry = f"{installed.entry.value}, {installed.distribution}"
    yield f"{installed.word}: a {installed.level} filter ({entry})"
    try:
        cls = installed.load()
    except BrokenFilter as error:
        yield f"\n{error}\n{error.detail}"
        return
    yield f"\n{inspect.getdoc(cls) or 'It has no description.'}"
    formatter = click.HelpFormatter(width=_width())
    try:
        rows = [(each.name, _key(each)) for each in keys(cls)]
    except NameError as error:
        rows = [("?", f"the types of the keys cannot be read: {error}")]
    if rows:
        with formatter.section("Keys"):
            formatter.write_dl(rows)
    where = [(each, "") for each in rules(cls)]
    if where:
        with formatter.section("Order"):
            formatter.write_dl(where)
    yield f"\n{formatter.getvalue().strip() or 'It has no keys.'}"


def _key(key: Key) -> str:
    default = "required" if key.default is None else f"default {key.default}"
    doc = " ".join(key.doc.split())
    return f"{key.accepts}; {default}." + (f" {doc}" if doc else "")


def _width() -> int:
    return max(60, min(100, get_terminal_size().columns))
