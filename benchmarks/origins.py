"""Where the loads end: nginx and nghttpd for HTTP, processes of our own for bytes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import certificates
from benchmarks.loads.h2load import MESSAGE, METHOD
from benchmarks.loads.held import HELD
from benchmarks.machine import Cores, Unfit
from benchmarks.peers import SETUPS, filled, program
from benchmarks.processes import started
from benchmarks.ready import accepts, wait_ready
from benchmarks.running import Place, free_ports

FILES = {"10k": 10_000, "1m": 1_000_000}
ALWAYS = ("web", "send", "echo", "mute")
HTTP2 = ("h2", "calls")
"""What nghttpd serves; without it, what needs them fails and all else is measured."""


@contextmanager
def place(cores: Cores) -> Iterator[Place]:
    """A folder with all that is served and shown, and the origins running."""
    with tempfile.TemporaryDirectory(prefix="tulle-bench-") as name, ExitStack() as up:
        folder = Path(name)
        # nginx's workers are nobody, and read from here.
        folder.chmod(0o755)
        _fill(folder)
        origins = [*ALWAYS, *(HTTP2 if program("nghttpd") else ())]
        ports = free_ports(len(origins))
        here = Place(folder, cores, dict(zip(origins, ports, strict=True)))
        for command in _commands(here):
            up.enter_context(started(command, (cores.load,), here.log))
        for port in ports:
            wait_ready(partial(accepts, port))
        yield here


def _fill(folder: Path) -> None:
    certificates.write(folder)
    for served, size in FILES.items():
        (folder / served).write_bytes(b"x" * size)
    code = Path(__file__).with_name("pass_through.py")
    (folder / code.name).write_text(code.read_text())
    _write(folder / "h2/index.html", b"hello\n")
    _write(folder / f"calls{METHOD}", MESSAGE)
    # It takes no room on the disk: a hole reads as zeros.
    with (folder / "h2/1g").open("wb") as long:
        long.truncate(1 << 30)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(content)


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
    mute = [str(here.origins["mute"]), str(here.folder / HELD)]
    yield [sys.executable, "-m", "benchmarks.mute_origin", *mute]
    nghttpd = program("nghttpd")
    if nghttpd is not None:
        yield from _nghttpd(nghttpd, here)


def _nghttpd(program: str, here: Place) -> Iterator[list[str]]:
    types = here.folder / "types"
    # What follows the last dot of the path is the suffix to it.
    types.write_text(f"application/grpc {METHOD.rpartition('.')[2]}\n")
    call = ["--no-content-length", "--trailer", "grpc-status: 0"]
    call += ["--mime-types-file", str(types)]
    for documents, options in (("h2", []), ("calls", call)):
        served = ["--no-tls", "-a", "127.0.0.1", "-d", str(here.folder / documents)]
        yield [program, *served, *options, str(here.origins[documents])]
