"""The line between a worker and the agent: counters, spans and answers go up it.

The agent may be away or slow: nothing here makes the data path wait. Spans wait in a
bounded queue, everything else is asked for again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import trio

from meshfilters.counters import Metrics
from meshfilters.env import SpanRecord
from proxy.ipc.channel import TrioChannel
from proxy.ipc.families import pack, snapshot
from proxy.ipc.messages import Answer, Ask, Counters, Spans

SPANS = 2000
"""Spans that may wait; OpenTelemetry's own batch queue holds 2048."""
BATCH = 500
INTERVAL = 1.0


@attrs.define(eq=False)
class AgentLine:
    """What a worker has for the agent, whichever agent that is at the moment."""

    metrics: Metrics
    reply: Callable[[str], object]
    """Answers what the agent asks for with a word."""
    collect: Callable[[], None]
    """Brings counters that are kept elsewhere up to date."""
    _spans: deque[SpanRecord] = attrs.field(factory=deque)
    _channel: TrioChannel | None = None

    def export(self, span: SpanRecord) -> None:
        """Queue a span; drop it and count when too many wait."""
        if len(self._spans) < SPANS:
            self._spans.append(span)
            return
        self.metrics.counter(
            "tulle_spans_dropped_total", "Spans given up, by where.", ("where",)
        ).add(("worker",))

    def counters(self) -> list[object]:
        """Everything counted so far, as JSON values."""
        self.collect()
        return pack(snapshot(self.metrics))

    async def serve(self, channel: TrioChannel) -> None:
        """Talk to one agent until it has gone; a later call takes the line over."""
        if self._channel is not None:
            self._channel.close()
        self._channel = channel
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._report, channel)
                await self._answer(channel)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            # The agent has gone, or another has taken its place.
            pass
        finally:
            channel.close()

    async def finish(self) -> None:
        """Send the last numbers and spans."""
        if self._channel is not None:
            try:
                await self._send_spans(self._channel)
                await self._channel.send(Counters(self.counters()))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def _report(self, channel: TrioChannel) -> None:
        while True:
            await self._send_spans(channel)
            await channel.send(Counters(self.counters()))
            await trio.sleep(INTERVAL)

    async def _send_spans(self, channel: TrioChannel) -> None:
        while self._spans:
            count = min(BATCH, len(self._spans))
            batch: list[object] = [self._spans.popleft() for _ in range(count)]
            await channel.send(Spans(batch))

    async def _answer(self, channel: TrioChannel) -> None:
        while received := await channel.receive():
            for message, _ in received:
                if isinstance(message, Ask):
                    answer = self.reply(message.what)
                    await channel.send(Answer(message.number, answer))


@attrs.define(eq=False)
class WorkerLine:
    """The agent's end: what one worker says, and what it answers."""

    worker: int
    slot: int
    channel: TrioChannel
    count: Callable[[int, list[Any]], None]
    """Called with each set of counters that the worker sends by itself."""
    collect: Callable[[list[Any]], None]
    """Called with finished spans."""
    _asked: int = 0
    _waiting: dict[int, trio.MemorySendChannel[object]] = attrs.field(factory=dict)

    async def serve(self) -> None:
        """Read until the worker has gone."""
        while received := await self.channel.receive():
            for message, _ in received:
                match message:
                    case Counters():
                        self.count(self.worker, message.families)
                    case Spans():
                        self.collect(message.records)
                    case Answer():
                        self._answered(message)
        self.channel.close()

    async def ask(self, what: str) -> object:
        """The worker's answer. Bound it: a worker may be too busy, or hang."""
        self._asked += 1
        number = self._asked
        sender, receiver = trio.open_memory_channel[object](1)
        self._waiting[number] = sender
        try:
            await self.channel.send(Ask(number, what))
            return await receiver.receive()
        finally:
            del self._waiting[number]

    def _answered(self, answer: Answer) -> None:
        waiting = self._waiting.get(answer.number)
        if waiting is not None:
            waiting.send_nowait(answer.value)
