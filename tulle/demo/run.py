"""The demo from its first line to its last: start, show, clean up."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import AsyncIterator

import attrs
import trio

from tulle.demo.display import Display, View
from tulle.demo.figures import Moment, figures
from tulle.demo.mesh import Mesh, mesh, until_ready
from tulle.demo.plan import EDGES, SIDECARS

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EVERY = 1.0
WINDOW = 5
"""Seconds that the figures on the way are of: of one second, p99 is two requests."""

AFTERWARDS = (
    "Everything has ended, every file is gone. What next:",
    "  tulle proxy --listen 127.0.0.1:8080 --to 127.0.0.1:8000   your own proxy",
    "  tulle filters                                             what chains have",
)


async def run(rate: float, seconds: float | None, display: Display) -> None:
    """Show a mesh at work for some seconds, or until a signal comes; then clean up.

    Raises Ended, NotReady or NoAnswer if the mesh did not work, OSError if the machine
    did not let it.
    """
    failure: Exception | None = None
    # Open to the very end: a second Ctrl-C must not keep the first from cleaning up.
    with trio.open_signal_receiver(*ENDS) as signals:
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(_end_on_signal, signals, scope)
            try:
                await _Run(rate, seconds, display).run(scope)
            except Exception as error:
                # Kept, to be raised as it is and not in the nursery's group.
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@attrs.define(eq=False)
class _Run:
    rate: float
    seconds: float | None
    display: Display
    first: Moment | None = None
    last: Moment | None = None
    weights: dict[str, float] = attrs.field(factory=dict)

    async def run(self, scope: trio.CancelScope) -> None:
        began = trio.current_time()
        with mesh(self.display.tell) as running:
            self.display.tell(
                f"starting {len(SIDECARS)} sidecars and their applications …"
            )
            with scope, self.display:
                await until_ready(running)
                self.first = await running.moment()
                running.start_client(self.rate)
                self.display.tell(f"ready in {trio.current_time() - began:.1f} s")
                await self._watch(running, self.first)
        if self.first is not None and self.last is not None:
            self.display.end(self._view(self.first, self.last, AFTERWARDS))

    async def _watch(self, running: Mesh, first: Moment) -> None:
        moments = deque([first], maxlen=WINDOW + 1)
        hints = _hints(running)
        end = float("inf") if self.seconds is None else first.at + self.seconds
        due = first.at
        while due < end:
            due = min(due + EVERY, end)
            await trio.sleep(due - trio.current_time())
            weights = running.weights()
            self.weights = self.weights if weights is None else weights
            self.last = await running.moment()
            moments.append(self.last)
            self.display.show(self._view(moments[0], self.last, hints))

    def _view(self, earlier: Moment, later: Moment, hints: tuple[str, ...]) -> View:
        assert self.first is not None
        return View(
            later.at - self.first.at,
            later.at - earlier.at,
            [figures(edge, earlier, later) for edge in EDGES],
            self.weights,
            hints,
        )


async def _end_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _hints(running: Mesh) -> tuple[str, ...]:
    addresses = running.addresses
    return (
        "While it runs, in another terminal:",
        f"  curl http://{addresses.outbound['web']}          ask web, as the client",
        f"  curl http://{addresses.admin['web']}/metrics  ask its sidecar (/chain /stats)",
        f"  edit {running.file('web')}   the split moves, no request is lost",
        "Ctrl-C ends it and leaves nothing behind.",
    )
