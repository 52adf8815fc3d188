"""``tulle demo`` as users run it, to its end and to a signal: nothing is left of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

pytestmark = pytest.mark.slow

LIMIT = 60.0
"""Seconds that a run may take on a busy machine."""
ID = "spiffe://demo.tulle/ns/demo/sa/"

Start = Callable[..., "subprocess.Popen[str]"]


@attrs.frozen
class Leftovers:
    """What of a demo is there: its files, and processes that name them or descend."""

    folder: Path

    @property
    def files(self) -> list[str]:
        return os.listdir(self.folder)

    @property
    def processes(self) -> list[str]:
        """Processes in whose environment the demo's own folder for files stands."""
        mark = f"TMPDIR={self.folder}\0".encode()
        found = []
        for each in Path("/proc").iterdir():
            try:
                if each.name.isdigit() and mark in (each / "environ").read_bytes():
                    words = (each / "cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"{each.name} {words.decode()}")
            except OSError:
                # It has ended since it was listed.
                continue
        return found


@pytest.fixture
def leftovers(tmp_path: Path) -> Leftovers:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return Leftovers(folder)


@pytest.fixture
def start(leftovers: Leftovers) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def demo(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tulle", "demo", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(leftovers.folder)},
        )
        started.append(process)
        return process

    yield demo
    for process in started:
        process.kill()
        process.communicate()


def number(line: str, name: str) -> float:
    """The number that a line says of ``name``."""
    match = re.search(rf" {name}=([\d.]+)", line)
    assert match is not None, line
    return float(match[1])


def until(process: subprocess.Popen[str], words: str) -> None:
    """Read up to the first line that has these words."""
    assert process.stdout is not None
    if not any(words in line for line in process.stdout):
        pytest.fail(f"no line had {words!r}")


def test_a_mesh_works_for_5_seconds_and_is_gone(
    start: Start, leftovers: Leftovers
) -> None:
    process = start("--seconds", "5", "--plain")
    out, err = process.communicate(timeout=LIMIT)

    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert sum(" client->web " in each for each in lines) == 6
    assert sum(" web->api " in each for each in lines) == 6
    assert sum(" web->rates " in each for each in lines) == 6
    web, api, rates = (each for each in lines if each.startswith("total "))
    assert web.endswith(f"client={ID}client server={ID}web")
    assert api.endswith(f"client={ID}web server={ID}api")
    assert rates.endswith(f"client={ID}web server={ID}rates")
    assert number(rates, "success_after") > number(rates, "success_before")
    assert number(web, "rps") > 20
    # Three tries in a row may all fail: three requests in 100,000 do.
    assert number(web, "success_after") > 99
    assert number(api, "success_after") > number(api, "success_before")
    assert number(api, "retries_per_s") > 0
    assert 75 < number(api, "api-v1") < 99
    assert 0 < number(api, "p50") <= number(api, "p95") <= number(api, "p99")
    assert "the split as it fell" in out
    assert leftovers.files == []
    assert leftovers.processes == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_leaves_nothing(
    start: Start, leftovers: Leftovers, signum: signal.Signals
) -> None:
    process = start("--plain")
    until(process, " web->api ")
    # 5 sidecars of 3 processes, 5 applications, and the demo.
    assert len(leftovers.processes) == 21
    assert len(leftovers.files) == 1
    process.send_signal(signum)
    out, err = process.communicate(timeout=LIMIT)

    assert (process.returncode, err) == (0, "")
    assert "total web->api" in out
    assert leftovers.files == []
    assert leftovers.processes == []


def test_a_signal_while_it_starts_leaves_nothing(
    start: Start, leftovers: Leftovers
) -> None:
    process = start("--plain")
    until(process, "starting ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT)

    assert (process.returncode, out, err) == (0, "", "")
    assert leftovers.files == []
    assert leftovers.processes == []


def test_a_sidecar_that_is_killed_ends_it_with_a_sentence(
    start: Start, leftovers: Leftovers
) -> None:
    process = start("--plain")
    until(process, "ready in ")
    supervisor = min(
        int(each.partition(" ")[0])
        for each in leftovers.processes
        if "api-v2.yaml" in each
    )
    os.kill(supervisor, signal.SIGKILL)
    _, err = process.communicate(timeout=LIMIT)

    assert process.returncode == 3
    assert err == "tulle demo: sidecar of api-v2 ended with exit code -9\n"
    assert leftovers.files == []
    assert leftovers.processes == []


def test_who_reads_no_further_ends_it(start: Start, leftovers: Leftovers) -> None:
    process = start("--plain")
    until(process, " web->api ")
    assert process.stdout is not None
    process.stdout.close()

    assert process.wait(LIMIT) == 1
    assert leftovers.files == []
    assert leftovers.processes == []
