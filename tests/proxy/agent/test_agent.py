"""The agent: sums, readiness and pages, with the test as its supervisor and worker."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from meshfilters.api import Service
from meshfilters.message import Request, Response
from proxy.agent.agent import Agent
from proxy.agent.totals import Totals
from proxy.config.model import Config
from proxy.ipc.channel import Channel, TrioChannel
from proxy.ipc.families import Family, pack, unpack
from proxy.ipc.messages import (
    Answer,
    Ask,
    Counters,
    Link,
    Quit,
    Ready,
    Shutdown,
    Spans,
    State,
)

WORKER: dict[str, object] = {"number": 5, "slot": 0, "pid": 1, "state": "ready"}


@attrs.define
class Collector:
    """Takes spans."""

    offered: list[Any] = attrs.field(factory=list)
    is_closed: bool = False

    def offer(self, record: tuple[object, ...]) -> bool:
        self.offered.append(record)
        return True

    def close(self, timeout: float) -> None:
        self.is_closed = True


async def no_admin(
    service: Service[Request, Response], sockets: Sequence[socket.socket]
) -> None:
    raise AssertionError("there are no sockets to serve")


def hits(number: float) -> list[object]:
    return pack({"hits": Family("counter", "hits_total", "", (), (), {(): [number]})})


class World:
    """An agent with the test around it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.supervisor = Channel(ours)
        self.files = Totals.open_files()
        self.spans = Collector()
        self.end = TrioChannel(theirs)
        totals = Totals(self.files)
        self.agent = Agent(1, Config({}, {}), self.end, totals, no_admin, self.spans)

    def link(self) -> TrioChannel:
        near, far = socket.socketpair()
        self.supervisor.send(Link(5, 0), [far])
        far.close()
        return TrioChannel(near)

    def close(self) -> None:
        self.supervisor.close()
        self.end.close()
        for each in self.files:
            os.close(each)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    world.close()


async def test_it_is_ready_when_the_supervisor_says_so(world: World) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.agent.run, ())
        await trio.testing.wait_all_tasks_blocked()
        assert (Ready(), []) in world.supervisor.receive()

        world.supervisor.send(State(True, [WORKER]))
        await trio.testing.wait_all_tasks_blocked()

        assert world.agent.is_ready
        world.supervisor.send(Quit())
    assert world.spans.is_closed


async def test_a_workers_numbers_are_asked_for_saved_and_kept(world: World) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.agent.run, ())
        world.supervisor.send(State(True, [WORKER]))
        worker = world.link()

        async def answer() -> None:
            [(ask, _)] = await worker.receive()
            assert ask == Ask(1, "counters")
            await worker.send(Answer(1, hits(3)))

        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(answer)
        families = await world.agent.families()

        assert families["hits_total"].series[()] == [3]
        assert Totals(world.files).sum()["hits_total"].series[()] == [3]
        assert families["tulle_workers"].series == {("ready",): [1]}
        worker.close()
        world.supervisor.send(State(False, []))
        await trio.testing.wait_all_tasks_blocked()
        assert (await world.agent.families())["hits_total"].series[()] == [3]
        world.supervisor.send(Quit())


async def test_a_new_agent_counts_a_living_worker_once(world: World) -> None:
    world.agent.totals.update(5, unpack(hits(3)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.agent.run, ())
        # It beats, and so saves, before it has heard who is there.
        await trio.testing.wait_all_tasks_blocked()

        worker = world.link()
        world.supervisor.send(State(True, [WORKER]))
        await worker.send(Counters(hits(4)))
        await trio.testing.wait_all_tasks_blocked()

        assert (await world.agent.families())["hits_total"].series[()] == [4]
        worker.close()
        world.supervisor.send(Quit())


async def test_a_worker_that_does_not_answer_holds_nobody_up(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.agent.run, ())
        worker = world.link()
        await worker.send(Counters(hits(2)))
        await worker.send(Spans([["a"]]))
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()

        answers = await world.agent.ask("chains")
        families = await world.agent.families()

        assert trio.current_time() - begun == pytest.approx(0.5)
        assert answers == {"worker-0": {"error": "no answer within 0.25 s"}}
        assert families["hits_total"].series[()] == [2]
        assert world.spans.offered == [("a",)]
        worker.close()
        world.supervisor.send(Quit())


async def test_a_shutdown_is_the_supervisors_to_do(world: World) -> None:
    await world.agent.shut_down()

    assert world.supervisor.receive() == [(Shutdown(), [])]


async def test_without_a_supervisor_it_ends(world: World) -> None:
    ended = trio.Event()

    async def run() -> None:
        await world.agent.run(())
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()

        world.supervisor.sock.shutdown(socket.SHUT_WR)
    assert ended.is_set()
