"""Where the loads end: nginx for HTTP, a process of our own for bytes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import certificates
from benchmarks.loads.load import Target
from benchmarks.machine import Unfit
from benchmarks.peers import SETUPS, filled, program
from benchmarks.processes import started
from benchmarks.rows import BY_NAME
from benchmarks.running import Place, answers, free_ports, wait_ready

FILES = {"10k": 10_000, "1m": 1_000_000}


@contextmanager
def place(core: int) -> Iterator[Place]:
    """A folder with all that is served and shown, and the origins running."""
    with tempfile.TemporaryDirectory(prefix="tulle-bench-") as name, ExitStack() as up:
        folder = Path(name)
        # nginx's workers are nobody, and read from here.
        folder.chmod(0o755)
        _fill(folder)
        web, send, echo = free_ports(3)
        here = Place(folder, core, {"web": web, "send": send, "echo": echo})
        (load_core,) = os.sched_getaffinity(0)
        for command in _commands(here):
            up.enter_context(started(command, load_core, here.log))
        for row in (BY_NAME["h1"], BY_NAME["tcp"], BY_NAME["tcp-trips"]):
            _await(row.name, Target(here.origins[row.origin], folder, lambda: 0))
        yield here


def _fill(folder: Path) -> None:
    certificates.write(folder)
    for served, size in FILES.items():
        (folder / served).write_bytes(b"x" * size)
    code = Path(__file__).with_name("pass_through.py")
    (folder / code.name).write_text(code.read_text())


def _commands(here: Place) -> Iterator[list[str]]:
    nginx = program("nginx")
    if nginx is None:
        raise Unfit("needs nginx, which is the origin: apt-get install nginx-light")
    written = here.folder / "origin.conf"
    values = {"folder": here.folder, "origin": here.origins["web"]}
    written.write_text(filled((SETUPS / "origin.conf").read_text(), values))
    yield [nginx, "-c", str(written), "-e", "stderr"]
    for answer in ("send", "echo"):
        port = str(here.origins[answer])
        yield [sys.executable, "-m", "benchmarks.tcp_origin", port, answer]


def _await(row: str, target: Target) -> None:
    wait_ready(lambda: answers(BY_NAME[row], target))
