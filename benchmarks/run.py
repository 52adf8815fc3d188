"""The measuring: every subject in its turn, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import attrs

from benchmarks.figures import added
from benchmarks.loads.load import Failed
from benchmarks.peers import Peer
from benchmarks.row import Row
from benchmarks.running import Place, Running, Subject

DIRECT = "direct"
WARM = 1
"""Seconds of load before what counts."""
TAKES, STARTS = 0.2, 0.5
"""Seconds that a run takes beside its load, about; and a start."""

Sample = dict[str, float]


@attrs.define(eq=False)
class Measured:
    """What the runs of a row gave: for each subject one sample a run."""

    row: Row
    samples: dict[str, list[Sample]] = attrs.field(factory=dict)
    failed: dict[str, str] = attrs.field(factory=dict)

    def series(self, subject: str, figure: str) -> list[float]:
        """One figure of a subject, run by run; empty if it has none."""
        samples = self.samples.get(subject, [])
        own = [each[figure] for each in samples if figure in each]
        return own if len(own) == len(samples) else []


def subjects(row: Row, peers: Sequence[Peer]) -> list[Subject]:
    """Whom a row is about; the first of ``peers`` is Tulle."""
    if row.variants:
        return [Subject(name, peers[0], o) for name, o in row.variants.items()]
    able = [
        Subject(each.name, each)
        for each in peers
        if each.files(row.kind) and (row.is_default or not each.is_for_first)
    ]
    return [*able, Subject(DIRECT, None)] if row.has_direct else able


def seconds_of(row: Row, seconds: int) -> int:
    """How long one run of a row loads."""
    return max(row.least, round(row.longer * seconds))


def estimate(row: Row, count: int, runs: int, seconds: int) -> float:
    """Seconds that a row will take with so many subjects."""
    each = seconds_of(row, seconds) + TAKES
    starts = runs if row.is_fresh else 1
    return count * (runs * each + starts * STARTS + (0 if row.is_fresh else WARM))


def measure(
    place: Place,
    row: Row,
    peers: Sequence[Peer],
    runs: int,
    seconds: int,
    tell: Callable[[str], None],
) -> Measured:
    """All runs of a row, its subjects in turn; one that fails is left out from then on."""
    measured = Measured(row)
    with ExitStack() as stack:
        up: dict[str, Running] = {}
        chosen = subjects(row, peers)
        for subject in () if row.is_fresh else chosen:
            with _noted(measured, subject):
                up[subject.name] = stack.enter_context(place.running(subject, row))
                row.load(up[subject.name].target, WARM)
        for run in range(runs):
            # Not always the same one after the same other.
            turn = run % len(chosen)
            for subject in chosen[turn:] + chosen[:turn]:
                if subject.name in measured.failed:
                    continue
                tell(f"{row.name}: run {run + 1} of {runs}, {subject.name}")
                with _noted(measured, subject):
                    if row.is_fresh:
                        with place.running(subject, row) as running:
                            sample = look(running, row, seconds)
                    else:
                        sample = look(up[subject.name], row, seconds)
                    measured.samples.setdefault(subject.name, []).append(sample)
    for name in measured.failed:
        measured.samples.pop(name, None)
    return without_direct(measured) if row.has_direct else measured


@contextmanager
def _noted(measured: Measured, subject: Subject) -> Iterator[None]:
    try:
        yield
    except (Failed, OSError) as error:
        measured.failed[subject.name] = str(error)


def look(running: Running, row: Row, seconds: int) -> Sample:
    """One run: load it, and see what that took."""
    before = running.cpu_seconds()
    done = row.load(running.target, seconds_of(row, seconds))
    used = running.cpu_seconds() - before
    return {
        "cost": used / done.units * row.unit.scale,
        "rate": done.units / done.seconds,
        **running.first,
        **done.figures,
    }


def without_direct(measured: Measured) -> Measured:
    """Latencies as what a proxy adds to the way without one."""
    direct = measured.samples.pop(DIRECT, None)
    if direct is None:
        raise Failed("the origin itself did not keep up")
    for samples in measured.samples.values():
        for figure in measured.row.figures:
            if figure in direct[0]:
                more = added([s[figure] for s in samples], [d[figure] for d in direct])
                for sample, value in zip(samples, more, strict=True):
                    sample[figure] = value
    return measured
