"""The order of things, without processes: a fake mesh counts by itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import attrs
import pytest
import trio

from tulle.demo import run as under_test
from tulle.demo.children import Ended
from tulle.demo.display import View
from tulle.demo.figures import Moment
from tulle.demo.mesh import Tell
from tulle.demo.plan import PORTS, SIDECARS, Addresses
from tulle.demo.run import run
from tulle.demo.scrape import parse

ADDRESSES = Addresses.over({}, iter(range(PORTS)))


@attrs.define(eq=False)
class FakeMesh:
    """Ten requests more each time it is asked; fails when it is to."""

    log: list[str]
    fails_at: int | None = None
    interrupts_at: int | None = None
    asked: int = 0
    addresses: Addresses = ADDRESSES

    async def moment(self) -> Moment:
        self.asked += 1
        if self.asked == self.fails_at:
            raise Ended("sidecar of web ended with exit code 1")
        if self.asked == self.interrupts_at:
            signal.raise_signal(signal.SIGINT)
        counted = parse(
            f'request_total{{direction="outbound",dst="web"}} {self.asked * 10}'
        )
        return Moment(trio.current_time(), dict.fromkeys(SIDECARS, counted))

    def weights(self) -> dict[str, float]:
        return {"api-v1": 1.0}

    def file(self, workload: str) -> Path:
        return Path(f"/somewhere/{workload}.yaml")

    def start_client(self, rate: float) -> None:
        self.log.append(f"client at {rate}")


@attrs.define(eq=False)
class FakeDisplay:
    """Writes down what it is told to show."""

    log: list[str]
    views: list[View] = attrs.field(factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.append("left")

    def tell(self, sentence: str) -> None:
        self.log.append(sentence.partition(" in ")[0])

    def show(self, view: View) -> None:
        self.views.append(view)
        self.log.append("shown")

    def end(self, view: View) -> None:
        self.views.append(view)
        self.log.append("the end")


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def fake(log: list[str], monkeypatch: pytest.MonkeyPatch) -> FakeMesh:
    fake = FakeMesh(log)

    @contextmanager
    def mesh(tell: Tell) -> Iterator[FakeMesh]:
        try:
            yield fake
        finally:
            log.append("gone")

    async def until_ready(mesh: FakeMesh) -> None:
        log.append("waited")

    monkeypatch.setattr(under_test, "mesh", mesh)
    monkeypatch.setattr(under_test, "until_ready", until_ready)
    return fake


BEFORE = [
    "starting 5 sidecars and their applications …",
    "waited",
    "client at 50",
    "ready",
]


async def test_the_table_is_left_when_all_is_gone(
    fake: FakeMesh, log: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    await run(50, 2.5, FakeDisplay(log))

    assert log == [*BEFORE, *["shown"] * 3, "left", "gone", "the end"]


async def test_figures_are_of_the_last_seconds_and_at_the_end_of_all(
    fake: FakeMesh, log: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    display = FakeDisplay(log)

    await run(50, 7, display)

    assert [each.span for each in display.views] == pytest.approx(
        [1, 2, 3, 4, 5, 5, 5, 7]
    )
    assert [each.seconds for each in display.views][-2:] == pytest.approx([7, 7])
    assert {each.edges[0].per_second for each in display.views} == {10.0}
    assert display.views[0].weights == {"api-v1": 1.0}
    assert "/somewhere/web.yaml" in "".join(display.views[0].hints)


async def test_ctrl_c_ends_it_as_its_time_would_have(
    fake: FakeMesh, log: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    fake.interrupts_at = 3

    await run(50, None, FakeDisplay(log))

    assert log[-3:] == ["left", "gone", "the end"]


async def test_ctrl_c_before_there_was_anything_to_show_ends_it_without_a_table(
    fake: FakeMesh, log: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    fake.interrupts_at = 1

    await run(50, None, FakeDisplay(log))

    assert log[-2:] == ["left", "gone"]


async def test_what_ends_by_itself_is_raised_when_all_is_gone(
    fake: FakeMesh, log: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    fake.fails_at = 3

    with pytest.raises(Ended, match="sidecar of web"):
        await run(50, None, FakeDisplay(log))

    assert log[-3:] == ["shown", "left", "gone"]
