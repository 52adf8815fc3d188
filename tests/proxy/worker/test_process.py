"""The process around a worker obeys the supervisor and ends in order."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from meshfilters.errors import ConfigError
from proxy.config import parse
from proxy.config.model import Config
from proxy.ipc.channel import Channel, TrioChannel
from proxy.ipc.messages import (
    Answer,
    Applied,
    Apply,
    Ask,
    Beat,
    Counters,
    Drain,
    Link,
    Message,
    Ready,
)
from proxy.worker.process import WorkerProcess

TEXT = """
grace: {grace}
listeners: {{web: {{address: "127.0.0.1:0", to: app}}}}
services: {{app: {{endpoints: ["127.0.0.1:1"]}}}}
"""
ORIGIN = Path("mesh.yaml")

Sockets = Mapping[str, Sequence[socket.socket]]


@attrs.define(eq=False)
class FakeWorker:
    """Serves nothing; does what it is told."""

    built: trio.Event = attrs.field(factory=trio.Event)
    drained: trio.Event = attrs.field(factory=trio.Event)
    grace: float = 0.0
    applied: list[Config] = attrs.field(factory=list)
    opened: dict[str, int] = attrs.field(factory=dict)
    refuses: bool = False

    async def run(
        self,
        sockets: Sockets,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        await self.built.wait()
        task_status.started()
        await self.drained.wait()

    def apply(self, config: Config, opened: Sockets) -> None:
        if self.refuses:
            raise ConfigError("web.pem: no such file")
        self.applied.append(config)
        for name, sockets in opened.items():
            self.opened[name] = len(sockets)
            for each in sockets:
                each.close()

    def drain(self, grace: float) -> None:
        self.grace = grace
        self.drained.set()

    def collect(self) -> None:
        pass

    def statistics(self) -> dict[str, object]:
        return {"a": 1}

    def chains(self) -> dict[str, object]:
        return {"b": 2}


class World:
    """A worker's process with the test as its supervisor."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.supervisor = Channel(ours)
        self.end = TrioChannel(theirs)
        self.worker = FakeWorker()
        self.worker.built.set()
        self.adjusted: list[Config] = []
        self.process = WorkerProcess(
            self.end, ORIGIN, lambda *_: self.worker, self.adjusted.append
        )

    async def run(self) -> None:
        config = parse(TEXT.format(grace=1), ORIGIN)
        await self.process.run(config, {}, 1)

    async def heard(self) -> list[Message]:
        await trio.testing.wait_all_tasks_blocked()
        return [each for each, _ in self.supervisor.receive()]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    world.supervisor.close()
    world.end.close()


async def test_it_says_that_it_is_ready_and_beats(
    world: World, autojump_clock: object
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(2.5)

        heard = await world.heard()

        assert heard.count(Ready()) == 1
        assert heard.count(Beat()) == 3
        world.supervisor.send(Drain(7))
    assert world.worker.grace == 7


async def test_an_order_to_a_worker_that_is_starting_waits(world: World) -> None:
    world.worker.built = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        world.supervisor.send(Apply(TEXT.format(grace=2), 3, []))
        assert Applied(3) not in await world.heard()
        assert not world.worker.applied

        world.worker.built.set()

        heard = await world.heard()
        assert heard.index(Ready()) < heard.index(Applied(3))
        assert len(world.worker.applied) == 1
        world.supervisor.send(Drain(7))


async def test_a_configuration_is_applied_with_its_sockets(world: World) -> None:
    one, two = socket.socketpair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        text = TEXT.format(grace=2)

        world.supervisor.send(Apply(text, 3, [("web", 2)]), [one, two])

        assert Applied(3) in await world.heard()
        assert world.worker.applied == world.adjusted == [parse(text, ORIGIN)]
        assert world.worker.opened == {"web": 2}
        world.supervisor.send(Drain(1))
    one.close()
    two.close()


async def test_a_refused_configuration_is_said_and_its_sockets_closed(
    world: World,
) -> None:
    one, two = socket.socketpair()
    world.worker.refuses = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)

        world.supervisor.send(Apply(TEXT.format(grace=2), 3, [("web", 1)]), [two])
        two.close()

        assert Applied(3, "web.pem: no such file") in await world.heard()
        assert one.recv(1) == b""
        assert not world.adjusted
        world.supervisor.send(Drain(1))
    one.close()


async def test_the_agent_is_answered_and_hears_last_words(world: World) -> None:
    near, far = socket.socketpair()
    agent = TrioChannel(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        world.supervisor.send(Link(1), [far])
        far.close()
        for number, what in enumerate(("statistics", "chains", "counters", "?")):
            await agent.send(Ask(number, what))
        await trio.testing.wait_all_tasks_blocked()

        answers = {
            each.number: each.value
            for each, _ in await agent.receive()
            if isinstance(each, Answer)
        }

        assert (answers[0], answers[1], answers[3]) == ({"a": 1}, {"b": 2}, None)
        assert "process_cpu_seconds_total" in str(answers[2])
        world.supervisor.send(Drain(1))
    assert isinstance((await agent.receive())[-1][0], Counters)
    agent.close()


async def test_without_a_supervisor_it_ends_at_once(world: World) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.testing.wait_all_tasks_blocked()

        world.supervisor.sock.shutdown(socket.SHUT_WR)
    assert not world.worker.drained.is_set()
