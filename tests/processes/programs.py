"""Other people's programs as processes beside a test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.processes.waiting import eventually

PEERS = Path(__file__).parent / "peers"
DAEMONS = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin:/sbin"
"""Where Debian has what is no command of a user's."""


PEERS_ARE = "TULLE_PEERS"
"""The environment variable that is ``required`` where no peer may be missing."""


def missing(peer: str) -> NoReturn:
    """Skip what needs a peer, or fail where all peers must be there."""
    if os.environ.get(PEERS_ARE) == "required":
        pytest.fail(f"needs {peer}", pytrace=False)
    pytest.skip(f"needs {peer}", allow_module_level=True)


def needed(program: str) -> str:
    """Where a program is; nothing goes on without it."""
    found = shutil.which(program, path=DAEMONS)
    if found is None:
        missing(program)
    return found


def needed_module(name: str) -> Any:
    """A library of somebody else's; nothing goes on without it."""
    try:
        return import_module(name)
    except ImportError:
        missing(name)


@contextmanager
def telling_its_port(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run a server that prints its port first; yields the port."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


@contextmanager
def listening(
    command: Sequence[str | Path], ports: Sequence[int], log: Path
) -> Iterator[None]:
    """Run a server until it listens on all ``ports``, and as long as the test goes on."""
    with log.open("wb") as said:
        server = subprocess.Popen(command, stdout=said, stderr=said)

    def is_listening(port: int) -> bool:
        assert server.poll() is None, log.read_text()
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", port)) == 0

    try:
        for port in ports:
            eventually(lambda port=port: is_listening(port))  # type: ignore[misc]  # its default
        yield
    finally:
        server.terminate()
        server.wait(10)
