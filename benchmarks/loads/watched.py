"""The memory of what is loaded, looked at for as long as the load lasts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

import attrs

from benchmarks.loads.load import MIB, Done, Load, Target


@attrs.frozen
class Watched:
    """A load, and the most memory that was seen while it ran."""

    load: Load
    period: float = 0.2
    """Seconds from one look to the next."""

    def __call__(self, target: Target, seconds: int) -> Done:
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(self.load, target, seconds)
            most = target.memory()
            while not wait([running], self.period).done:
                most = max(most, target.memory())
        done = running.result()
        return attrs.evolve(done, figures={**done.figures, "loaded": most / MIB})
