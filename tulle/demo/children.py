"""The demo's processes: none of them outlives it, however it ends."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

PR_SET_PDEATHSIG = 1
STOP = 4.0
"""Seconds to end after SIGTERM; a sidecar's own grace is shorter."""
SHOWN = 5
"""Lines of a log that are shown when its process ended."""


class Ended(Exception):
    """A process ended that should not have."""


@attrs.frozen
class Child:
    """One process with a session of its own, so that Ctrl-C reaches only the demo."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise Ended, with the end of the log, if the process is no more."""
        # It stays unreaped: as long as it is, its number is no other group's.
        end = os.waitid(
            os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT
        )
        if end is not None:
            code = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
            said = self.log.read_text(errors="replace").splitlines()[-SHOWN:]
            raise Ended("\n".join([f"{self.name} ended with exit code {code}", *said]))

    def end(self, seconds: float) -> None:
        """Wait for its end, kill what then is left of its group, and reap it."""
        descriptor = os.pidfd_open(self.process.pid)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(max(0, seconds * 1000))
        os.close(descriptor)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@attrs.frozen
class Children:
    """Every process of the demo."""

    folder: Path
    """Where their logs go."""
    all: list[Child] = attrs.field(factory=list)

    def start(
        self, name: str, words: Sequence[str], *, keep: Sequence[int] = ()
    ) -> Child:
        """Run ``python -m`` with ``words``; the descriptors ``keep`` stay open in it.

        To be called in the main thread: the kernel takes the thread that forked for
        the parent whose death ends the child.
        """
        log = self.folder / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # -m looks here first: a user's folder may have a proxy.py of its own.
                cwd=self.folder,
                pass_fds=keep,
                start_new_session=True,
                preexec_fn=_ends_with_its_parent(),
            )
        child = Child(name, process, log)
        self.all.append(child)
        return child

    def check(self) -> None:
        """Raise Ended if one of them has ended."""
        for child in self.all:
            child.check()

    def stop(self) -> None:
        """End all of them, the last one started first; returns when they are gone."""
        for child in reversed(self.all):
            os.kill(child.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP
        for child in self.all:
            child.end(deadline - time.monotonic())


@contextmanager
def running(folder: Path) -> Iterator[Children]:
    """Have processes that all end with the block."""
    children = Children(folder)
    try:
        yield children
    finally:
        children.stop()


def _ends_with_its_parent() -> Callable[[], None]:
    # Found before the fork: between fork and exec as little as possible may happen.
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
