from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from benchmarks.loads.load import MIB, Done, Failed, Target
from benchmarks.loads.watched import Watched

PATIENCE = 5.0


class Scripted:
    """A load that lasts until its target's memory was looked at so many times."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = list(sizes)
        self._looked = Event()

    def memory(self) -> int:
        if len(self._sizes) > 1:
            return self._sizes.pop(0) * MIB
        self._looked.set()
        return self._sizes[0] * MIB

    def __call__(self, target: Target, seconds: int) -> Done:
        if not self._looked.wait(PATIENCE):
            raise Failed("nobody looked while it ran")
        return Done(10, 2.0, {"p50": 1.0})


def test_memory_is_the_most_there_was_while_the_load_ran(tmp_path: Path) -> None:
    load = Scripted(20, 50, 30)

    done = Watched(load, period=0)(Target(80, tmp_path, load.memory), 1)

    assert done == Done(10, 2.0, {"p50": 1.0, "loaded": 50.0})


def test_a_load_that_fails_fails_watched_too(tmp_path: Path) -> None:
    def fail(target: Target, seconds: int) -> Done:
        raise Failed("said no")

    with pytest.raises(Failed, match="said no"):
        Watched(fail)(Target(80, tmp_path, lambda: 0), 1)
