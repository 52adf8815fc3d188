"""Children are started, linked, replaced and drained, without a process or a clock."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import attrs
import pytest

from proxy.ipc.channel import Channel
from proxy.ipc.messages import Beat, Drain, Link, Message, Quit, Ready, State
from proxy.supervisor.children import Child
from proxy.supervisor.fleet import Fleet, cause


@attrs.define(eq=False)
class World:
    """A fleet whose children are the test."""

    now: float = 100.0
    ends: dict[int, Channel] = attrs.field(factory=dict)
    channels: list[Channel] = attrs.field(factory=list)
    killed: list[tuple[int, int]] = attrs.field(factory=list)
    fleet: Fleet = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.fleet = Fleet(self.start, lambda: self.now)

    def start(self, child: Child) -> None:
        ours, theirs = socket.socketpair()
        child.channel, self.ends[child.number] = Channel(ours), Channel(theirs)
        self.channels.append(child.channel)

    def says(self, number: int, message: Message) -> list[Message]:
        self.ends[number].send(message)
        return [said for _, said in self.fleet.hear()]

    def was_told(self, number: int) -> list[Message]:
        told = []
        for message, descriptors in self.ends[number].receive():
            told.append(message)
            for each in descriptors:
                socket.socket(fileno=each).close()
        return told

    def states(self) -> list[tuple[str, int, str]]:
        return [(each.role, each.slot, each.state) for each in self.fleet.children]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    monkeypatch.setattr(
        Child, "kill", lambda child, signum: world.killed.append((child.number, signum))
    )
    yield world
    for each in [*world.ends.values(), *world.channels]:
        each.close()


def test_empty_slots_are_filled_and_the_agent_too(world: World) -> None:
    world.fleet.fill(2, 1)
    world.fleet.fill(2, 1)

    assert world.states() == [
        ("worker", 0, "starting"),
        ("worker", 1, "starting"),
        ("agent", 0, "starting"),
    ]
    assert world.fleet.workers[0].configuration == 1


def test_it_is_ready_when_every_slot_is(world: World) -> None:
    world.fleet.fill(2, 1)

    world.says(1, Ready())
    assert not world.fleet.is_ready(2)
    assert world.says(2, Ready()) == [Ready()]

    assert world.fleet.is_ready(2)


def test_worker_and_agent_get_the_two_ends_of_a_line(world: World) -> None:
    world.fleet.fill(1, 1)

    world.says(1, Ready())
    # The agent is still starting: it finds the line in its channel, and gets no other.
    assert world.was_told(1) == [Link(1, 0)]
    world.says(2, Ready())

    assert world.was_told(1) == []
    assert world.was_told(2) == [Link(1, 0)]


def test_the_next_agent_gets_lines_of_its_own(world: World) -> None:
    world.fleet.fill(1, 1)
    world.says(1, Ready())
    world.says(2, Ready())
    world.was_told(1)

    [agent] = [each for each in world.fleet.children if each.role == "agent"]
    world.fleet.children.remove(agent)
    world.fleet.fill(1, 1)
    world.says(3, Ready())

    assert world.was_told(1) == world.was_told(3) == [Link(1, 0)]


def test_a_later_worker_gets_a_line_as_well(world: World) -> None:
    world.fleet.fill(1, 1)
    world.says(2, Ready())

    world.says(1, Ready())

    assert world.was_told(1) == world.was_told(2) == [Link(1, 0)]


def test_the_agent_is_told_how_things_stand_when_they_change(world: World) -> None:
    world.fleet.fill(1, 1)
    world.fleet.tell(False)
    assert world.was_told(2) == []
    world.says(2, Ready())

    for _ in range(2):
        world.fleet.tell(True)

    states = [each for each in world.was_told(2) if isinstance(each, State)]
    assert states == [
        State(True, [{"number": 1, "slot": 0, "pid": 0, "state": "starting"}], 0)
    ]


def test_a_worker_that_fails_again_is_replaced_later_each_time(world: World) -> None:
    pauses = []
    for _ in range(10):
        world.fleet.fill(1, 1)
        [child] = world.fleet.workers
        world.fleet.children.remove(child)
        child.channel.close()
        world.fleet.lost(child, 1)
        died = world.now
        while True:
            world.fleet.fill(1, 1)
            if world.fleet.workers:
                break
            world.now += 0.05
        pauses.append(world.now - died)

    assert pauses[0] == 0
    assert pauses[1] == pytest.approx(0.1, abs=0.01)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(5, abs=0.06)
    assert world.fleet.restarts == 10


def test_a_worker_that_ran_long_fails_for_the_first_time_again(world: World) -> None:
    world.fleet.fill(1, 1)
    [child] = world.fleet.workers
    world.fleet.lost(child, 1)
    world.says(child.number, Ready())
    world.now += 60

    world.fleet.lost(child, 1)
    world.fleet.children.clear()
    child.channel.close()
    world.fleet.fill(1, 1)

    assert len(world.fleet.workers) == 1


def test_a_ready_worker_is_told_to_drain_and_given_its_time(world: World) -> None:
    world.fleet.fill(1, 1)
    world.says(1, Ready())
    world.was_told(1)

    world.fleet.drain(world.fleet.workers[0], 30)

    assert world.was_told(1) == [Drain(30)]
    assert world.fleet.workers == []
    world.now += 31
    world.fleet.watch()
    assert world.killed == [(2, signal.SIGABRT)], "only the silent agent"
    world.now += 2
    world.fleet.watch()
    assert (1, signal.SIGKILL) in world.killed


def test_a_worker_that_has_not_started_is_killed(world: World) -> None:
    world.fleet.fill(1, 1)

    world.fleet.drain(world.fleet.workers[0], 30)

    assert world.killed == [(1, signal.SIGKILL)]


def test_a_heartbeat_keeps_a_child_alive(world: World) -> None:
    world.fleet.fill(1, 1)
    for _ in range(3):
        world.now += 4
        world.says(1, Beat())
        world.says(2, Beat())
        world.fleet.watch()

    assert world.killed == []


def test_the_agent_quits_once(world: World) -> None:
    world.fleet.fill(1, 1)

    world.fleet.quit_agent()
    world.fleet.quit_agent()

    assert world.was_told(2) == [Quit()]


def test_after_an_upgrade_each_worker_gets_a_successor(world: World) -> None:
    world.fleet.fill(2, 1)
    for number in (1, 2, 3):
        world.says(number, Ready())

    world.fleet.renew(1, 2, 30)

    successor = world.fleet.children[-1]
    assert (successor.replaces, successor.configuration) == (1, 2)
    assert Drain(30) in world.was_told(2)
    assert Quit() in world.was_told(3)


def test_all_are_killed_at_once(world: World) -> None:
    world.fleet.fill(1, 1)

    world.fleet.kill_all()

    assert world.killed == [(1, signal.SIGKILL), (2, signal.SIGKILL)]


def test_a_child_that_ended_is_taken_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fleet.fill(1, 1)
    monkeypatch.setattr(Child, "ended", lambda child: 3 if child.number == 1 else None)

    [(child, code)] = world.fleet.reap()

    assert (child.number, code) == (1, 3)
    assert world.states() == [("agent", 0, "starting")]


def test_the_cause_of_an_end_is_said_for_people() -> None:
    assert cause(2) == "ended with exit code 2"
    assert cause(-11) == "was ended by SIGSEGV"
    assert cause(-9) == "was ended by SIGKILL, perhaps for want of memory"


def test_silence_while_nobody_watched_is_no_hanging(world: World) -> None:
    world.fleet.fill(1, 1)
    world.fleet.watch()

    world.now += 60
    world.fleet.watch()
    assert world.killed == []

    for _ in range(6):
        world.now += 1
        world.fleet.watch()
    assert world.killed == [(1, signal.SIGABRT), (2, signal.SIGABRT)]
