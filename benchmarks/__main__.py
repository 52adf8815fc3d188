"""``python -m benchmarks [--quick|--all|--gate] [ROW …]``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import click
from rich.console import Console

from benchmarks import gate, machine, origins, peers
from benchmarks.plot import svg
from benchmarks.rows import BY_NAME, ROWS, Row
from benchmarks.run import estimate, measure, subjects
from benchmarks.running import Place
from benchmarks.summary import Line, as_json, summarise
from benchmarks.table import table

RUNS = 5
SECONDS, QUICK = 2, 1
HELP = """Measure Tulle beside the proxies found on this machine.

Tulle is what the Python that runs this has installed: with pip install -e, the checkout.
"""
RISEN, UNFIT = 1, 2
"""Exit codes."""


@attrs.frozen
class Plan:
    """What is measured, and how often."""

    rows: Sequence[Row]
    peers: Sequence[peers.Peer]
    runs: int
    seconds: int
    console: Console

    def minutes(self) -> float:
        """How long it will take, about."""
        each = (
            estimate(row, len(subjects(row, self.peers)), self.runs, self.seconds)
            for row in self.rows
        )
        return sum(each) / 60

    def line(self, place: Place, row: Row, times: int = 1) -> Line:
        """Measure one row."""
        with self.console.status(row.name) as status:
            runs = times * self.runs
            measured = measure(
                place, row, self.peers, runs, self.seconds, status.update
            )
        self.console.print(f"[dim]{row.name} is done[/]")
        return summarise(measured)


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
        found = [each for each in found if each.name == gate.YARDSTICK]
        if not found:
            raise click.ClickException(f"the gate needs {gate.YARDSTICK}")
    else:
        for sentence in missing:
            console.print(sentence)
    try:
        ours = peers.tulles(pythons)
    except peers.NoTulle as error:
        raise click.ClickException(str(error)) from error
    plan = Plan(
        chosen(names, quick, every, gated),
        [*ours, *found],
        runs,
        seconds or (QUICK if quick or gated else SECONDS),
        console,
    )
    versions = {each.name: each.version() for each in plan.peers}
    facts = machine.facts()
    console.print(f"two cores to itself, for about {plan.minutes():.0f} minutes")
    try:
        with origins.place(machine.prepare()) as place:
            lines = [plan.line(place, row) for row in plan.rows]
            verdicts = [_judge(plan, place, line) for line in lines] if gated else []
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
