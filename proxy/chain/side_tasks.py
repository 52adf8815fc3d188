"""Tasks beside an exchange: in the worker's nursery, ended and joined with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from meshfilters.errors import MeshError
from meshfilters.exchange import Exchange
from meshfilters.stream import Stream
from proxy.chain.pipeline import Blame


@attrs.define(eq=False)
class SideTask:
    """One task beside an exchange; may be stopped before the exchange ends."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    done: trio.Event = attrs.field(factory=trio.Event)

    async def stop(self) -> None:
        """Cancel and join it, even from a cancelled task; it has no say in how long."""
        self.scope.cancel()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await self.done.wait()


class SideTasks:
    """The side tasks of one worker. ``nursery`` is the worker's own."""

    def __init__(self, nursery: trio.Nursery, blame: Blame) -> None:
        self._nursery = nursery
        self._blame = blame
        self._tasks: dict[Exchange, list[SideTask]] = {}

    def start(
        self, exchange: Exchange, task: Callable[[], Awaitable[None]]
    ) -> SideTask:
        """Run ``task`` until it is done, stopped, or its exchange ends."""
        side = SideTask()
        if exchange.outcome is None:
            self._tasks.setdefault(exchange, []).append(side)
        else:
            side.scope.cancel()  # nobody would join it
        self._nursery.start_soon(self._run, side, task, exchange.owner)
        return side

    async def _run(
        self, side: SideTask, task: Callable[[], Awaitable[None]], owner: str
    ) -> None:
        try:
            with side.scope:
                await task()
        except MeshError:
            pass  # the exchange it belongs to tells of it
        except Exception as error:
            self._blame(owner, error)
        finally:
            side.done.set()

    async def join(self, exchange: Exchange) -> None:
        """Cancel and join the tasks of an exchange that is over."""
        tasks = self._tasks.pop(exchange, ())
        for side in tasks:
            side.scope.cancel()
        for side in tasks:
            await side.stop()

    def close_soon(self, stream: Stream) -> None:
        """Close a stream that can only be closed by waiting."""
        self._nursery.start_soon(self._close, stream)

    async def _close(self, stream: Stream) -> None:
        try:
            await stream.aclose()
        except Exception as error:  # a filter's own stream
            self._blame(type(stream).__name__, error)

    def start_soon(self, owner: str, task: Callable[[], Awaitable[None]]) -> None:
        """Run what belongs to no exchange. What it raises is blamed on ``owner``.

        A library's bug is one connection's end so, and not the worker's.
        """
        self._nursery.start_soon(self._run, SideTask(), task, owner)

    def __contains__(self, exchange: Exchange) -> bool:
        return exchange in self._tasks

    def __len__(self) -> int:
        return sum(map(len, self._tasks.values()))
