from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from benchmarks.loads.load import Done, Failed, Target
from benchmarks.machine import cores
from benchmarks.peers import Peer
from benchmarks.row import Row
from benchmarks.rows import BY_NAME
from benchmarks.run import estimate, measure, subjects, without_direct
from benchmarks.running import Place, Running, Subject
from tests.benchmarks.making import ROW, measured

TULLE = Peer("tulle", "yaml", (), ())
NGINX = Peer("nginx", "conf", (), ())


class Calm(Place):
    """Starts nothing; every subject's target is its name's length as a port."""

    @contextmanager
    def running(self, subject: Subject, row: Row) -> Iterator[Running]:
        target = Target(len(subject.name), self.folder, lambda: 0)
        yield Running(target, (), {"ready": 1.0})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Calm(tmp_path, cores({0, 1}), {})


class Scripted:
    """A load that notes whom it loads, and fails whom it shall."""

    def __init__(self, fails: int = 0) -> None:
        self._fails = fails
        self.loaded: list[int] = []

    def __call__(self, target: Target, seconds: int) -> Done:
        self.loaded.append(target.port)
        if target.port == self._fails:
            raise Failed("said no")
        return Done(10, 2.0, {"p50": float(target.port)})


def run(place: Place, load: Scripted, runs: int = 3, *, is_fresh: bool = False) -> Row:
    return attrs.evolve(
        ROW, load=load, is_fresh=is_fresh, variants={"a": {}, "bb": {}, "ccc": {}}
    )


def test_subjects_take_turns_and_start_in_turn(place: Place) -> None:
    load = Scripted()

    measure(place, run(place, load), [TULLE], 3, 1, lambda said: None)

    warm, runs = load.loaded[:3], load.loaded[3:]
    assert warm == [1, 2, 3]
    assert runs == [1, 2, 3, 2, 3, 1, 3, 1, 2]


def test_fresh_processes_are_not_warmed(place: Place) -> None:
    load = Scripted()
    row = run(place, load, is_fresh=True)

    result = measure(place, row, [TULLE], 1, 1, lambda said: None)

    assert load.loaded == [1, 2, 3]
    assert result.series("a", "ready") == [1.0]
    assert result.series("a", "rate") == [5.0]


def test_one_that_fails_is_left_out_and_the_others_go_on(place: Place) -> None:
    load = Scripted(fails=2)

    result = measure(place, run(place, load), [TULLE], 2, 1, lambda said: None)

    assert result.failed == {"bb": "said no"}
    assert {name: len(each) for name, each in result.samples.items()} == {
        "a": 2,
        "ccc": 2,
    }


def test_only_proxies_that_may_spread_have_more_cores_than_one(tmp_path: Path) -> None:
    place = Place(tmp_path, cores(range(4)), {})

    assert place.cores_of(BY_NAME["workers"]) == (0, 2, 3)
    assert place.cores_of(BY_NAME["h1"]) == (0,)


def test_an_access_log_is_no_measure_of_the_disk(place: Place) -> None:
    assert place.output(BY_NAME["built-in"]) == Path("/dev/null")
    assert place.output(BY_NAME["h1"]) == place.log


def test_a_peer_without_a_setup_of_that_kind_is_not_asked() -> None:
    assert [each.name for each in subjects(BY_NAME["tcp"], [TULLE, NGINX])] == ["tulle"]


def test_a_peer_for_the_rows_asked_about_first_is_in_no_other() -> None:
    other = attrs.evolve(TULLE, name="tulle 3.13.5", is_for_first=True)

    first, more = (subjects(BY_NAME[n], [TULLE, other]) for n in ("h1", "h1-16"))

    assert [each.name for each in first] == ["tulle", "tulle 3.13.5"]
    assert [each.name for each in more] == ["tulle"]


def test_latency_is_measured_without_a_proxy_too() -> None:
    assert [each.name for each in subjects(BY_NAME["latency-200"], [TULLE])] == [
        "tulle",
        "direct",
    ]


def test_latency_is_what_is_added_to_going_direct() -> None:
    row = attrs.evolve(ROW, figures=("cost",))
    runs = without_direct(measured({"tulle": [9.0, 7.0], "direct": [1.0, 2.0]}, row))

    assert runs.series("tulle", "cost") == [8.0, 5.0]
    assert "direct" not in runs.samples


def test_without_a_direct_way_nothing_can_be_said() -> None:
    with pytest.raises(Failed, match="origin itself"):
        without_direct(measured({"tulle": [9.0]}))


def test_fresh_processes_cost_a_start_for_each_run() -> None:
    fresh = attrs.evolve(ROW, is_fresh=True)

    assert estimate(fresh, 4, 5, 2) > estimate(ROW, 4, 5, 2)
