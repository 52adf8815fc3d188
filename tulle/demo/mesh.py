"""Brings the mesh up and takes it down: certificates, files, sidecars, applications."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import trio

from tulle.demo.authority import Authority
from tulle.demo.children import Children, running
from tulle.demo.figures import Moment
from tulle.demo.plan import (
    PORTS,
    RATES_FAIL,
    ROOTS,
    SIDECARS,
    V2_FAILS,
    Addresses,
    config,
    identity,
    weights,
)
from tulle.demo.scrape import NoAnswer, fetch, parse

APPS = "tulle.demo.apps"
READY = 20.0
"""Seconds until every sidecar must be ready; a quiet machine needs one."""
POLL = 0.05

Tell = Callable[[str], None]


class NotReady(Exception):
    """The mesh did not come up in time."""


@attrs.frozen
class Mesh:
    """A mesh that runs."""

    folder: Path
    addresses: Addresses
    children: Children

    async def moment(self) -> Moment:
        """What every sidecar has counted so far. Raises Ended if something has ended."""
        self.children.check()
        try:
            pages = {
                workload: parse(await fetch(self.addresses.admin[workload], "/metrics"))
                for workload in SIDECARS
            }
        except NoAnswer:
            # Its end says more than its silence.
            self.children.check()
            raise
        return Moment(trio.current_time(), pages)

    def file(self, workload: str) -> Path:
        """The configuration of a workload's sidecar."""
        return self.folder / f"{workload}.yaml"

    def weights(self) -> dict[str, float] | None:
        """How the requests for ``api`` are to be split, by the file as it is now.

        None if it cannot be said: some editors take a file away before they write it.
        """
        try:
            return weights(self.file("web").read_text())
        except (OSError, UnicodeDecodeError):
            return None

    def start_client(self, rate: float) -> None:
        """Let there be traffic."""
        web = self.addresses.outbound["web"]
        self.children.start("client", [APPS, "-", "client", web, str(rate)])


@contextmanager
def mesh(tell: Tell) -> Iterator[Mesh]:
    """Start everything but the client; at the end all of it is gone, files too."""
    with (
        tempfile.TemporaryDirectory(prefix="tulle-demo-") as name,
        running(Path(name)) as children,
    ):
        folder = Path(name)
        began = time.monotonic()
        _issue(folder)
        took = (time.monotonic() - began) * 1000
        tell(f"issued a root and {len(SIDECARS)} certificates in {took:.0f} ms")
        addresses = _start(folder, children)
        yield Mesh(folder, addresses, children)


async def until_ready(mesh: Mesh) -> None:
    """Wait for every sidecar. Raises NotReady or Ended."""
    with trio.move_on_after(READY) as patience:
        for workload in SIDECARS:
            await _until_ready(mesh, workload)
    if patience.cancelled_caught:
        raise NotReady(f"the sidecars were not ready in {READY:g} s")


async def _until_ready(mesh: Mesh, workload: str) -> None:
    while True:
        mesh.children.check()
        try:
            await fetch(mesh.addresses.admin[workload], "/ready")
        except NoAnswer:
            await trio.sleep(POLL)
        else:
            return


def _issue(folder: Path) -> None:
    authority = Authority.create()
    authority.write_root(folder / ROOTS)
    for workload in SIDECARS:
        authority.issue(identity(workload), folder, workload)


def _start(folder: Path, children: Children) -> Addresses:
    # An application is handed a socket that listens: what its sidecar sends before
    # it has come up waits there.
    with ExitStack() as open_here:
        sockets = {
            workload: open_here.enter_context(socket.create_server(("127.0.0.1", 0)))
            for workload in SIDECARS[1:]
        }
        apps = {name: _shown(each) for name, each in sockets.items()}
        addresses = Addresses.over(apps, iter(_free_ports(PORTS)))
        for workload in SIDECARS:
            file = folder / f"{workload}.yaml"
            file.write_text(config(workload, addresses))
            words = ["tulle", "proxy", "-c", str(file)]
            children.start(f"sidecar of {workload}", words)
        behind = {
            "web": ["web", addresses.outbound["api"], addresses.outbound["rates"]],
            "api-v1": ["api", "v1", "0"],
            "api-v2": ["api", "v2", str(V2_FAILS)],
            "rates": ["rates", str(RATES_FAIL)],
        }
        for workload, words in behind.items():
            number = sockets[workload].fileno()
            children.start(workload, [APPS, str(number), *words], keep=[number])
    return addresses


def _shown(listening: socket.socket) -> str:
    host, port = listening.getsockname()
    return f"{host}:{port}"


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on; all are held until all are found."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
