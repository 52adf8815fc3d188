"""Coming up and failing to; the mesh at work is in tests/processes/test_demo.py."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from tulle.demo import mesh as under_test
from tulle.demo.children import Children, Ended, running
from tulle.demo.mesh import Mesh, NotReady, mesh, until_ready
from tulle.demo.plan import PORTS, SIDECARS, Addresses, config

APPS = dict.fromkeys(SIDECARS[1:], "127.0.0.1:1")


@pytest.fixture
def taken() -> Iterator[Addresses]:
    """Addresses whose ports are taken by somebody who does not listen there."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(PORTS)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
        yield Addresses.over(APPS, iter(ports))


async def test_a_mesh_that_never_gets_ready_is_given_up(
    tmp_path: Path, taken: Addresses, autojump_clock: trio.testing.MockClock
) -> None:
    never = Mesh(tmp_path, taken, Children(tmp_path))

    with pytest.raises(NotReady, match="not ready in 20 s"):
        await until_ready(never)


@pytest.mark.slow
async def test_a_sidecar_that_cannot_start_ends_the_wait_with_its_reason(
    tmp_path: Path, taken: Addresses
) -> None:
    with running(tmp_path) as children:
        words = ["tulle", "proxy", "-c", str(tmp_path / "nothing.yaml")]
        children.start("sidecar of web", words)

        with pytest.raises(
            Ended, match="sidecar of web ended with exit code 2"
        ) as caught:
            await until_ready(Mesh(tmp_path, taken, children))

    assert "nothing.yaml" in str(caught.value)


def test_the_wanted_split_follows_the_file(tmp_path: Path) -> None:
    addresses = Addresses.over(APPS, iter(range(PORTS)))
    file = tmp_path / "web.yaml"
    text = config("web", addresses)
    file.write_text(text)
    edited = Mesh(tmp_path, addresses, Children(tmp_path))

    assert edited.weights() == {"api-v1": 0.9, "api-v2": 0.1}
    file.write_text(text.replace("api-v1: 90, api-v2: 10", "api-v1: 1, api-v2: 1"))
    assert edited.weights() == {"api-v1": 0.5, "api-v2": 0.5}
    file.unlink()
    assert edited.weights() is None


def test_what_cannot_start_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    told: list[str] = []

    def no_ports(count: int) -> list[int]:
        assert os.listdir(tmp_path)
        raise OSError("too few ports")

    monkeypatch.setattr(under_test, "_free_ports", no_ports)
    with pytest.raises(OSError, match="too few ports"), mesh(told.append):
        pytest.fail("it came up")

    assert os.listdir(tmp_path) == []
    assert told[0].startswith("issued a root and 5 certificates in")
