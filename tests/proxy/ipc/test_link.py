"""The line between a worker and the agent, both ends in one nursery."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from meshfilters.counters import Metrics
from proxy.ipc import link
from proxy.ipc.channel import TrioChannel
from proxy.ipc.families import unpack
from proxy.ipc.link import AgentLine, WorkerLine


@attrs.define(eq=False)
class Ends:
    """A worker's end and the agent's, and what the agent has been told."""

    metrics: Metrics = attrs.field(factory=Metrics)
    counted: list[tuple[int, list[Any]]] = attrs.field(factory=list)
    spans: list[Any] = attrs.field(factory=list)
    worker: AgentLine = attrs.field(init=False)
    agent: WorkerLine = attrs.field(init=False)
    channel: TrioChannel = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.metrics.counter("hits_total", "", ())
        self.channel = TrioChannel(theirs)
        self.worker = AgentLine(self.metrics, lambda what: [what, 1], self.collect)
        self.agent = WorkerLine(7, 0, TrioChannel(ours), self.count, self.spans.extend)

    def collect(self) -> None:
        self.metrics.counter("hits_total", "", ()).add()

    def count(self, worker: int, families: list[Any]) -> None:
        self.counted.append((worker, families))


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    ends = Ends()
    yield ends
    ends.agent.channel.close()
    ends.channel.close()


async def test_counters_come_by_themselves(ends: Ends, autojump_clock: object) -> None:
    with trio.move_on_after(2.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ends.worker.serve, ends.channel)
            nursery.start_soon(ends.agent.serve)

    hits = [unpack(f)["hits_total"].series[()] for _, f in ends.counted]
    assert hits[:3] == [[1], [2], [3]]
    assert ends.counted[0][0] == 7


async def test_a_question_is_answered(ends: Ends) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.worker.serve, ends.channel)
        nursery.start_soon(ends.agent.serve)

        assert await ends.agent.ask("chains") == ["chains", 1]
        assert await ends.agent.ask("statistics") == ["statistics", 1]

        nursery.cancel_scope.cancel()


async def test_spans_go_up_and_too_many_are_counted(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "SPANS", 3)
    for number in range(5):
        ends.worker.export((number,))

    with trio.move_on_after(0.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ends.worker.serve, ends.channel)
            nursery.start_soon(ends.agent.serve)

    assert ends.spans == [[0], [1], [2]]
    dropped = ends.metrics.counter("tulle_spans_dropped_total", "", ("where",))
    assert dropped.values == {("worker",): 2}


async def test_a_worker_outlives_the_agent(ends: Ends) -> None:
    ends.agent.channel.close()

    await ends.worker.serve(ends.channel)
    await ends.worker.finish()
    ends.worker.export(("kept for the next agent",))

    assert ends.spans == []
    assert ends.counted == []


async def test_last_words_are_heard(ends: Ends) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.worker.serve, ends.channel)
        nursery.start_soon(ends.agent.serve)
        await trio.testing.wait_all_tasks_blocked()
        before = len(ends.counted)

        ends.worker.export(("last",))
        await ends.worker.finish()
        await trio.sleep(0.1)

        assert ends.spans == [["last"]]
        assert len(ends.counted) == before + 1
        nursery.cancel_scope.cancel()


async def test_without_an_agent_there_are_no_last_words(ends: Ends) -> None:
    await ends.worker.finish()

    assert ends.counted == []
