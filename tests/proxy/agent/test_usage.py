"""What ``/proc`` says of processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from proxy.agent.usage import cpu_seconds, started, usage


def test_this_process_uses_something() -> None:
    pid = os.getpid()

    families = usage(pid, {"worker": [pid, pid]})

    memory = families["process_resident_memory_bytes"].series
    assert memory["worker",][0] > memory["supervisor",][0] > 1_000_000
    assert families["process_open_fds"].series["supervisor",][0] >= 3
    assert families["process_cpu_seconds_total"].series["supervisor",][0] > 0
    assert started(pid) < time.time()


def test_a_process_that_has_ended_uses_nothing(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu 1\n")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (a) b) " + " ".join(["100"] * 40))

    families = usage(7, {"worker": [8]}, tmp_path)

    assert families["process_open_fds"].series["worker",] == [0]
    assert cpu_seconds(7, tmp_path) == 200 / os.sysconf("SC_CLK_TCK")
    assert started(7, tmp_path) == 0
