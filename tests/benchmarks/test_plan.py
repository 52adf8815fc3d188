from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks import plan
from benchmarks.__main__ import QUICK, RUNS, SECONDS, chosen
from benchmarks.peers import Peer
from benchmarks.plan import TOOLS, Plan
from benchmarks.row import Row
from benchmarks.rows import BY_NAME

PEERS = [
    Peer("tulle", "yaml", (), ()),
    Peer("envoy", "yaml", (), ()),
    Peer("haproxy", "cfg", (), ()),
    Peer("nginx", "conf", (), ()),
]
NEWER = Peer("tulle 3.13.5", "yaml", (), (), is_for_first=True)


def made(rows: list[Row], peers: list[Peer], seconds: int = SECONDS) -> Plan:
    return Plan(rows, peers, RUNS, seconds, Console(file=io.StringIO()))


def test_the_default_ends_within_ten_minutes_on_a_newer_python_too() -> None:
    assert made(chosen([], False, False, False), [*PEERS, NEWER]).minutes() <= 10


def test_quick_ends_within_two_minutes() -> None:
    assert made(chosen([], True, False, False), PEERS, QUICK).minutes() <= 2


def test_a_plan_says_what_it_needs_and_how_long_each_row_takes() -> None:
    needs, *rows = made([BY_NAME["h1"], BY_NAME["tcp"]], PEERS).told()

    assert needs.startswith("needs two cores to itself, nginx, taskset, wrk")
    assert needs.endswith("and 1 minutes:")
    assert rows[0].split()[:6] == ["50", "s", "h1", "5", "×", "2"]
    assert rows[1].endswith("opaque TCP, 1 connection")


def test_a_plan_says_which_tool_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "program", lambda name: None)

    _, *said = made([], PEERS).told()

    assert len(said) == len(TOOLS)
    assert said[1] == (
        "wrk is missing, and what needs it will fail: apt-get install wrk"
    )
