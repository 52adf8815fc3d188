"""Processes that end with the demo: Python's own modules stand for the real ones."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tulle.demo import children
from tulle.demo.children import Children, Ended, running

WAITS = ["http.server", "--bind", "127.0.0.1", "0"]
PATIENCE = 10_000
"""Milliseconds in which a signal must have ended a process."""

Module = Callable[[str, str], list[str]]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Write a module that processes of this test can run."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(name: str, source: str) -> list[str]:
        (tmp_path / f"{name}.py").write_text(source)
        return [name]

    return write


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def ends(pid: int) -> bool:
    """Whether a process that need not be a child of ours ends; if not, it is killed."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    has_ended = bool(poll.poll(PATIENCE))
    os.close(descriptor)
    if not has_ended:
        os.kill(pid, signal.SIGKILL)
    return has_ended


def test_processes_end_with_the_block(tmp_path: Path) -> None:
    with running(tmp_path) as started:
        one, other = started.start("one", WAITS), started.start("two", WAITS)
        started.check()
        assert is_there(one.process.pid)

    assert not is_there(one.process.pid)
    assert not is_there(other.process.pid)


def test_processes_end_when_the_block_fails(tmp_path: Path) -> None:
    pids = []

    def fail(started: Children) -> None:
        pids.append(started.start("one", WAITS).process.pid)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), running(tmp_path) as started:
        fail(started)

    assert [is_there(pid) for pid in pids] == [False]


def test_one_that_ended_by_itself_is_told_with_its_last_words(
    tmp_path: Path, module: Module
) -> None:
    source = "import sys\nfor each in range(9): print('line', each)\nsys.exit(3)"
    with running(tmp_path) as started:
        assert ends(started.start("brief", module("brief", source)).process.pid)
        with pytest.raises(Ended) as caught:
            started.check()

    first, *rest = str(caught.value).splitlines()
    assert first == "brief ended with exit code 3"
    assert rest == [f"line {each}" for each in range(4, 9)]


def test_what_a_process_leaves_behind_ends_with_the_block(
    tmp_path: Path, module: Module
) -> None:
    source = """
import os, sys, time
pid = os.fork()
if not pid:
    time.sleep(60)
os.write(int(sys.argv[1]), str(pid).encode())
"""
    reader, writer = os.pipe()
    with running(tmp_path) as started:
        words = [*module("parent", source), str(writer)]
        parent = started.start("parent", words, keep=[writer])
        orphan = int(os.read(reader, 9))
        assert ends(parent.process.pid)
    os.close(reader)
    os.close(writer)

    assert ends(orphan)


DEAF = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pid = os.fork()
if pid:
    os.write(int(sys.argv[1]), str(pid).encode())
time.sleep(60)
"""


def test_one_that_does_not_listen_is_killed_with_all_its_own(
    tmp_path: Path, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "STOP", 0.05)
    reader, writer = os.pipe()
    with running(tmp_path) as started:
        words = [*module("deaf", DEAF), str(writer)]
        deaf = started.start("deaf", words, keep=[writer])
        grandchild = int(os.read(reader, 9))
    os.close(reader)
    os.close(writer)

    assert deaf.process.returncode == -signal.SIGKILL
    assert ends(grandchild)


def test_processes_do_not_hear_the_terminals_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path) as started:
        child = started.start("one", WAITS)

        assert os.getsid(child.process.pid) == child.process.pid != os.getsid(0)


def test_what_lies_about_where_the_user_stands_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, own = tmp_path / "users", tmp_path / "own"
    users.mkdir()
    own.mkdir()
    (users / "proxy.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(users)
    with running(own) as started:
        child = started.start("version", ["tulle", "proxy", "--help"])
        assert ends(child.process.pid)

    assert child.process.returncode == 0


def test_a_descriptor_that_is_handed_over_is_open_in_the_process(
    tmp_path: Path, module: Module
) -> None:
    source = "import os, sys\nprint(os.read(int(sys.argv[1]), 9).decode())"
    reader, writer = os.pipe()
    os.write(writer, b"handed")
    with running(tmp_path) as started:
        words = [*module("reads", source), str(reader)]
        child = started.start("reads", words, keep=[reader])
        assert ends(child.process.pid)
    os.close(reader)
    os.close(writer)

    assert child.process.returncode == 0
    assert child.log.read_text() == "handed\n"


def test_processes_end_when_the_demo_is_killed(tmp_path: Path) -> None:
    source = f"""
import os, pathlib, signal
from tulle.demo.children import running
with running(pathlib.Path({str(tmp_path)!r})) as started:
    print(started.start("one", {WAITS!r}).process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=30
    )

    assert ends(int(done.stdout))
