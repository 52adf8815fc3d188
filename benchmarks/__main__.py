"""``python -m benchmarks [--quick|--all|--gate] [ROW …]``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from benchmarks import gate, machine, origins, peers
from benchmarks.plan import Plan
from benchmarks.plot import svg
from benchmarks.row import Row
from benchmarks.rows import BY_NAME, ROWS
from benchmarks.running import Place
from benchmarks.summary import Line, as_json
from benchmarks.table import table

RUNS = 5
SECONDS, QUICK = 2, 1
HELP = """Measure Tulle beside the proxies found on this machine.

Tulle is what the Python that runs this has installed: with pip install -e, the checkout.
"""
RISEN, UNFIT = 1, 2
"""Exit codes."""


@click.command(help=HELP)
@click.argument("names", metavar="[ROW]...", nargs=-1)
@click.option("--quick", is_flag=True, help="A few rows, within two minutes.")
@click.option("--all", "every", is_flag=True, help="Every row there is.")
@click.option("--gate", "gated", is_flag=True, help="Fail if Tulle became dearer.")
@click.option("--keep", is_flag=True, help="Keep the ratios that --gate compares with.")
@click.option("--list", "listed", is_flag=True, help="Name the rows, and end.")
@click.option("--runs", default=RUNS, show_default=True, type=click.IntRange(1))
@click.option("--seconds", type=click.IntRange(1), help="Of load in each run.")
@click.option(
    "--python",
    "pythons",
    metavar="PROGRAM",
    multiple=True,
    help="Another Python: what it has installed of Tulle is measured, too.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
@click.option("--svg", "svg_file", type=click.Path(path_type=Path))
def main(
    names: tuple[str, ...],
    quick: bool,
    every: bool,
    gated: bool,
    keep: bool,
    listed: bool,
    runs: int,
    seconds: int | None,
    pythons: tuple[str, ...],
    json_file: Path | None,
    svg_file: Path | None,
) -> None:
    if listed:
        for row in ROWS:
            click.echo(f"{row.name:14} {row.title}")
        return
    console = Console(stderr=True)
    found, missing = peers.found()
    if gated:
        found, missing = [gate.YARDSTICK], []
    more: list[peers.Peer] = []
    if not (quick or gated):
        more, sentence = peers.newer(Path.cwd())
        missing.append(sentence)
    try:
        ours = peers.tulles(pythons, more)
        cores = machine.cores(os.sched_getaffinity(0))
    except peers.NoTulle as error:
        raise click.ClickException(str(error)) from error
    except machine.Unfit as error:
        console.print(str(error))
        sys.exit(UNFIT)
    plan = Plan(
        [row.on(len(cores.spread)) for row in chosen(names, quick, every, gated)],
        [*ours, *found],
        runs,
        seconds or (QUICK if quick or gated else SECONDS),
        console,
    )
    versions = {each.name: each.version() for each in plan.peers}
    facts = machine.facts()
    for sentence in (*missing, *plan.told()):
        console.print(sentence, highlight=False, soft_wrap=True)
    try:
        machine.prepare(cores)
        with origins.place(cores) as place:
            lines = [plan.line(place, row) for row in plan.rows]
            judged = lines if gated and not keep else []
            verdicts = [_judge(plan, place, line) for line in judged]
    except machine.Unfit as error:
        console.print(str(error))
        sys.exit(UNFIT)
    Console().print(table(lines, versions))
    if json_file is not None:
        document = as_json(lines, facts, versions)
        json_file.write_text(json.dumps(document, indent=1) + "\n")
    if svg_file is not None:
        svg_file.write_text(svg(lines))
    if keep:
        gate.keep(line for line in lines if BY_NAME[line.name].is_gated)
    for verdict in verdicts:
        click.echo(verdict)
    if not all(each.is_fine for each in verdicts):
        sys.exit(RISEN)


def _judge(plan: Plan, place: Place, line: Line) -> gate.Verdict:
    row = BY_NAME[line.name]
    return gate.judge(
        line.name, line, gate.kept(), lambda times: plan.line(place, row, times)
    )


def chosen(names: Sequence[str], quick: bool, every: bool, gated: bool) -> list[Row]:
    """The rows to measure; those that are named, whatever else is said.

    With ``every`` they have the time that a rare percentile needs.
    """
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise click.BadParameter(f"no row {unknown[0]}; --list names them")
    rows = [BY_NAME[name] for name in names] or ROWS
    if every:
        return [row.at_length() for row in rows]
    if names:
        return list(rows)
    if gated:
        return [row for row in ROWS if row.is_gated]
    return [row for row in ROWS if (row.is_quick if quick else row.is_default)]


if __name__ == "__main__":
    main()
