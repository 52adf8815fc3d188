"""Waiting for sockets at a third of trio's price: one edge-triggered epoll a worker.

Each socket is registered once for its life. One task waits with trio for the epoll's
own descriptor, polls it, and reschedules the tasks that wait; they stay ordinary
cancellable trio tasks. The two rules:

1. An edge is remembered. ``readable`` says whether a read may find something; only a
   read that came up short, or would have blocked, may clear it.
2. Once the peer has hung up, ``readable`` stays true: no further edge would tell.
"""

from __future__ import annotations

import os
import select
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TypeVar

import outcome
import trio
import trio.abc

T = TypeVar("T")

_WATCHED = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_WRITE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
_HANGUP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


FEW = 2
"""Sockets ready in one turn that are no crowd yet."""


class Woken(outcome.Outcome[None]):
    """What a task that waited is woken with. It has no value: one serves them all."""

    def unwrap(self) -> None:
        """Called by trio in the task, as often as tasks are woken."""

    def send(self, gen: Generator[T, None, object]) -> T:
        return gen.send(None)

    async def asend(self, agen: AsyncGenerator[T, None]) -> T:
        return await agen.asend(None)


WOKEN = Woken()


class Readiness(trio.abc.Instrument):
    """The epoll of one worker; ``run`` must be running for any wait to end."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watches: dict[int, Watch] = {}
        self._soon: list[Callable[[], None]] = []
        self.is_crowded = False
        """Whether many sockets were found ready in this turn of the loop."""
        # Edge-triggered: it is written and never has to be read.
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._eventfd, select.EPOLLIN | select.EPOLLET)

    def watch(self, descriptor: int) -> Watch:
        """Register a non-blocking descriptor until the watch is closed."""
        watch = Watch(self, descriptor)
        self._epoll.register(descriptor, _WATCHED)
        self._watches[descriptor] = watch
        return watch

    async def run(self) -> None:
        """Wake whoever's socket is ready, for ever."""
        descriptor = self._epoll.fileno()
        trio.lowlevel.add_instrument(self)
        try:
            while True:
                # It only ends trio's wait: the instrument has polled by then.
                await trio.lowlevel.wait_readable(descriptor)
        finally:
            trio.lowlevel.remove_instrument(self)

    def soon(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once, behind the tasks that run in this turn of the loop.

        What many tasks have to do together is so done once, for all of them, and without
        a task. ``call`` must not raise; when it has woken a task it must ``nudge``.
        """
        self._soon.append(call)

    def nudge(self) -> None:
        """End the wait that is about to begin: trio has reckoned its length already."""
        os.eventfd_write(self._eventfd, 1)

    def before_io_wait(self, timeout: float) -> None:
        """Called by trio when the tasks of a turn have run."""
        while self._soon:
            calls, self._soon = self._soon, []
            for call in calls:
                call()

    def after_io_wait(self, timeout: float) -> None:
        """Called by trio when its wait is over: tasks woken here run in this turn.

        Were they woken by a task, they would run in the next, for 10 µs more.
        """
        watches, ready = self._watches, self._epoll.poll(0)
        self.is_crowded = len(ready) > FEW
        for descriptor, events in ready:
            watch = watches.get(descriptor)
            if watch is not None:
                watch.notice(events)

    def close(self) -> None:
        """Close the epoll. The watched sockets are not closed."""
        self._epoll.close()
        os.close(self._eventfd)
        self._watches.clear()

    def forget(self, watch: Watch) -> None:
        """Stop watching; called by the watch."""
        if self._watches.pop(watch.descriptor, None) is not None:
            self._epoll.unregister(watch.descriptor)

    def __repr__(self) -> str:
        return f"<Readiness {len(self._watches)} watched>"


class Watch:
    """One socket's readiness: at most one task waits to read, and one to write."""

    __slots__ = (
        "descriptor",
        "has_hung_up",
        "on_hangup",
        "on_writable",
        "readable",
        "reader",
        "readiness",
        "writer",
    )

    def __init__(self, readiness: Readiness, descriptor: int) -> None:
        self.readiness = readiness
        self.descriptor = descriptor
        self.readable = True
        self.has_hung_up = False
        """The peer has sent its last byte, or the connection broke."""
        self.on_hangup: Callable[[], None] | None = None
        """Called once, when that is seen; bytes may be left to read."""
        self.on_writable: Callable[[], None] | None = None
        """Called once at the next edge that says there is room; must not raise."""
        self.reader: trio.lowlevel.Task | None = None
        self.writer: trio.lowlevel.Task | None = None

    def notice(self, events: int) -> None:
        """Take in one poll's events."""
        if events & _READ:
            self.readable = True
            task = self.reader
            if task is not None:
                self.reader = None
                trio.lowlevel.reschedule(task, WOKEN)
        if events & _WRITE:
            task = self.writer
            if task is not None:
                self.writer = None
                trio.lowlevel.reschedule(task, WOKEN)
            if self.on_writable is not None:
                call, self.on_writable = self.on_writable, None
                call()
        if events & _HANGUP and not self.has_hung_up:
            self.has_hung_up = True
            if self.on_hangup is not None:
                self.on_hangup()

    async def wait_readable(self) -> None:
        """Wait for the next edge. Call it only when a read found nothing."""
        if self.reader is not None:
            raise trio.BusyResourceError("another task is receiving")
        self.reader = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort_read)

    async def wait_writable(self) -> None:
        """Wait for the next edge. Call it only when a write would have blocked."""
        if self.writer is not None:
            raise trio.BusyResourceError("another task is sending")
        self.writer = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort_write)

    def close(self) -> None:
        """Stop watching, before the socket is closed. Waiting tasks are told. Idempotent."""
        self.readiness.forget(self)
        self.on_hangup = self.on_writable = None
        self.readable = True  # a read must find it closed, not wait for an edge
        for task in (self.reader, self.writer):
            if task is not None:
                closed = trio.ClosedResourceError("closed by another task")
                trio.lowlevel.reschedule(task, outcome.Error(closed))
        self.reader = self.writer = None

    def _abort_read(self, _: object) -> trio.lowlevel.Abort:
        self.reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _abort_write(self, _: object) -> trio.lowlevel.Abort:
        self.writer = None
        return trio.lowlevel.Abort.SUCCEEDED
