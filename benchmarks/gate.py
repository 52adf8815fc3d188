"""Whether Tulle became dearer: its ratio to a relay against the ratio that is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import attrs

from benchmarks.peers import relay
from benchmarks.summary import Line

KEPT = Path(__file__).with_name("kept.json")
YARDSTICK = relay()
ALLOWED = 1.3
"""Times what is kept."""
AGAIN = (2, 4)
"""How many times the usual runs a row gets that rose, before it counts."""


@attrs.frozen
class Verdict:
    """A row's ratio, and the one that is kept."""

    row: str
    ratio: float | None
    """None: there was none, for one of the two failed."""
    kept: float

    @property
    def is_fine(self) -> bool:
        """Whether it has not risen by more than is allowed."""
        return self.ratio is not None and self.ratio <= self.kept * ALLOWED

    def __str__(self) -> str:
        found = "nothing" if self.ratio is None else f"{self.ratio:.2f}"
        fine = "fine" if self.is_fine else f"over {self.kept * ALLOWED:.2f}"
        return f"{self.row}: {found} × {YARDSTICK.name}, kept {self.kept:.2f}: {fine}"


def ratio_of(line: Line) -> float | None:
    """Tulle's main figure over the yardstick's."""
    found = line.ratios.get(YARDSTICK.name, {}).get(line.main)
    return None if found is None else found.median


def kept(path: Path = KEPT) -> dict[str, float]:
    """The ratios in the repository, by row."""
    ratios: dict[str, float] = json.loads(path.read_text())
    return ratios


def keep(lines: Iterable[Line], path: Path = KEPT) -> None:
    """Make these the ratios to compare with; rows not measured stay."""
    found = {line.name: ratio_of(line) for line in lines}
    fresh = {name: round(each, 3) for name, each in found.items() if each is not None}
    old = kept(path) if path.exists() else {}
    path.write_text(json.dumps(old | fresh, indent=2, sort_keys=True) + "\n")


def judge(
    row: str, line: Line, ratios: Mapping[str, float], again: Callable[[int], Line]
) -> Verdict:
    """A row's verdict; ``again`` measures it anew, with so many times the runs.

    Only a rise that stays when looked at longer, and longer still, is one: what a busy
    machine did to a few runs does not fail anybody's change.
    """
    verdict = Verdict(row, ratio_of(line), ratios[row])
    for times in AGAIN:
        if verdict.is_fine:
            break
        verdict = Verdict(row, ratio_of(again(times)), ratios[row])
    return verdict
