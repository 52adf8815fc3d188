"""One proxy for the whole corpus, as one command starts it, and its origin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wire.client import Address
from tests.wire.origin import Origin
from tests.wire.running import Running, free_ports, running, serving

BARE = """\
version: 1
listeners:
  bare: {{address: "127.0.0.1:{port}", to: app, request: []}}
services:
  app: {{endpoints: ["{origin}"]}}
"""
TOLD = """\
version: 1
listeners:
  told: {{address: "127.0.0.1:{port}", to: app, protocol: http1}}
services:
  app: {{endpoints: ["{origin}"]}}
"""


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture(scope="session")
def proxy(
    origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    (port,) = free_ports(1)
    arguments = ["--listen", f"127.0.0.1:{port}", "--to", origin.url]
    log = tmp_path_factory.mktemp("wire") / "proxy.log"
    with running(arguments, [port], log) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def address(proxy: Running) -> Address:
    return proxy.addresses[0]


@pytest.fixture(scope="session")
def bare(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A proxy without filters: what its origin did wrong is not tried again."""
    with serving(BARE, origin, tmp_path_factory.mktemp("bare")) as address:
        yield address


@pytest.fixture(scope="session")
def told(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A proxy that is told what its clients speak."""
    with serving(TOLD, origin, tmp_path_factory.mktemp("told")) as address:
        yield address


@pytest.fixture(autouse=True)
def _calm(origin: Origin) -> None:
    """Every test begins with an origin that has no script and nothing to tell."""
    origin.script = None
    origin.hold.set()
    origin.take()
