"""What is to be measured: what that needs, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import attrs
from rich.console import Console

from benchmarks.peers import Peer, program
from benchmarks.row import Row
from benchmarks.run import estimate, measure, seconds_of, subjects
from benchmarks.running import Place
from benchmarks.summary import Line, summarise

TOOLS = {
    "taskset": "util-linux",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "nghttp": "nghttp2-client",
    "nghttpd": "nghttp2-server",
}
"""What loads and answers beside nginx, by its package."""


@attrs.frozen
class Plan:
    """What is measured, and how often."""

    rows: Sequence[Row]
    peers: Sequence[Peer]
    runs: int
    seconds: int
    console: Console

    def takes(self, row: Row) -> float:
        """Seconds for a row, about."""
        count = len(subjects(row, self.peers))
        return estimate(row, count, self.runs, self.seconds)

    def minutes(self) -> float:
        """How long it will take, about."""
        return sum(map(self.takes, self.rows)) / 60

    def told(self) -> Iterator[str]:
        """What a run needs, and what each row takes."""
        tools = ", ".join(("nginx", *TOOLS))
        yield f"needs two cores to itself, {tools}, and {self.minutes():.0f} minutes:"
        for row in self.rows:
            runs = f"{self.runs} × {seconds_of(row, self.seconds)} s"
            yield f"{self.takes(row):5.0f} s  {row.name:12}  {runs:8}  {row.title}"
        for tool in filter(lambda name: program(name) is None, TOOLS):
            fails = f"{tool} is missing, and what needs it will fail"
            yield f"{fails}: apt-get install {TOOLS[tool]}"

    def line(self, place: Place, row: Row, times: int = 1) -> Line:
        """Measure one row."""
        began = time.monotonic()
        with self.console.status(row.name) as status:
            runs = times * self.runs
            measured = measure(
                place, row, self.peers, runs, self.seconds, status.update
            )
        took = time.monotonic() - began
        self.console.print(f"[dim]{row.name} took {took:.0f} s[/]")
        return summarise(measured)
