"""A change of code: seen in the files of what is loaded, checked in a new process.

The supervisor then executes itself anew: same pid, same children, same sockets. What it
must remember crosses in a memory file that the environment names.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, NoReturn

import attrs

from proxy.supervisor.children import HANDLED

RESUME = "TULLE_RESUME"
"""Environment variable with the descriptor of the memory file."""

HOUSE = frozenset({"meshfilters", "proxy", "controlplane", "tulle"})


def code(packages: Iterable[str]) -> dict[str, tuple[int, int]]:
    """The files that the house and these packages are made of, with time and size."""
    found = {}
    for name in HOUSE | set(packages):
        module = sys.modules.get(name) or importlib.import_module(name)
        folders = [Path(each) for each in getattr(module, "__path__", ())]
        files = [file for folder in folders for file in folder.rglob("*.py")]
        if not folders and module.__file__ is not None:
            files = [Path(module.__file__)]
        found.update({str(file): stamp(file) for file in files})
    return found


def stamp(path: Path) -> tuple[int, int]:
    """When a file was written and how long it is; zeros when it is not there."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@attrs.define(eq=False)
class Check:
    """The code on the disk reading a configuration, in a process of its own."""

    text: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    @classmethod
    def start(cls, text: str, path: Path) -> Check:
        source = os.fdopen(os.memfd_create("tulle-check-input"), "w+b")
        output = os.fdopen(os.memfd_create("tulle-check-output"), "w+b")
        source.write(text.encode())
        source.seek(0)
        # Import from where this process does, without adding the working directory.
        folders = [folder or os.getcwd() for folder in sys.path]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "proxy.supervisor.rehearsal", str(path)],
            stdin=source,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        )
        source.close()
        return cls(text, process, output)

    def ended(self) -> int | None:
        return self.process.poll()

    def stop(self) -> None:
        """Give it up."""
        self.process.kill()
        self.process.wait()
        self.output.close()

    def complaint(self) -> str:
        """What it wrote; closes the file."""
        with self.output:
            self.output.seek(0)
            return self.output.read().decode(errors="replace")


def execute(state: Mapping[str, object], descriptors: Iterable[int]) -> NoReturn:
    """Replace the program by the one on the disk. ``descriptors`` stay open."""
    # By default SIGTERM would end the program before it has its handlers again.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    memory = os.memfd_create("tulle-resume")
    os.write(memory, json.dumps(state).encode())
    for each in (memory, *descriptors):
        os.set_inheritable(each, True)
    environment = {**os.environ, RESUME: str(memory)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def resumed() -> dict[str, object] | None:
    """What the program that executed this one left for it, taken once."""
    memory = os.environ.pop(RESUME, None)
    if memory is None:
        return None
    with os.fdopen(int(memory), "rb") as file:
        file.seek(0)
        state: dict[str, object] = json.load(file)
    return state
