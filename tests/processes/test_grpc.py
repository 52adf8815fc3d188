"""gRPC's libraries, each with each, before and behind the proxy and a pair of them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

from tests.processes.interop import COMPRESSED, EXPECTED, GIVEN, SERVICE
from tests.processes.pair import WAYS, Pair, paired
from tests.processes.programs import (
    PEERS,
    missing,
    needed_module,
    telling_its_port,
)
from tests.processes.waiting import PATIENCE

needed_module("grpc")
from tests.processes.grpcio_peers import (  # noqa: E402  # needs grpc
    Client,
    Interop,
    code,
    grpcio_server,
    observed,
)

pytestmark = pytest.mark.slow

LIBRARIES = ("grpcio", "grpclib", "grpc_js")
GRPC_JS = "1.14.7"
"""The version that npm installs."""
LIMITED = 10
"""Streams that one of the servers grants on a connection."""


@attrs.frozen
class Languages:
    """How programs of each library are run; a library that is missing has none."""

    node_path: Path | None

    @property
    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "NODE_PATH": str(self.node_path)}

    def command(self, library: str, role: str) -> list[str | Path] | None:
        if library == "grpclib" and importlib.util.find_spec("grpclib"):
            return [sys.executable, PEERS / f"grpclib_{role}.py"]
        if library == "grpc_js" and self.node_path is not None:
            return ["node", PEERS / f"grpc_js_{role}.js"]
        return None


@pytest.fixture(scope="session")
def languages(tmp_path_factory: pytest.TempPathFactory) -> Languages:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return Languages(None)
    folder = tmp_path_factory.mktemp("node")
    quietly = ("--no-audit", "--no-fund", "--loglevel=error")
    command: list[str | Path] = [
        "npm",
        "install",
        *quietly,
        "--prefix",
        folder,
        f"@grpc/grpc-js@{GRPC_JS}",
    ]
    # A machine that reaches no registry tests without it.
    try:
        subprocess.run(command, timeout=60, check=True)
    except subprocess.SubprocessError:
        return Languages(None)
    return Languages(folder / "node_modules")


@attrs.frozen
class Place:
    """A proxy with everybody's servers behind it."""

    pair: Pair
    languages: Languages
    service: Interop
    """The one that grpcio serves."""

    def seen_by(
        self, library: str, port: int, calls: list[str]
    ) -> dict[str, list[object]]:
        """What a library's client tells of these calls of ``interop``."""
        if library == "grpcio":
            return observed(port, calls)
        command = self.languages.command(library, "client")
        if command is None:
            missing(library)
        ran = subprocess.run(
            [*command, str(port), json.dumps({**GIVEN, "calls": calls})],
            env=self.languages.environment,
            stdout=subprocess.PIPE,
            timeout=60,
            check=True,
        )
        saw: dict[str, list[object]] = json.loads(ran.stdout)
        return saw


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, languages: Languages
) -> Iterator[Place]:
    service = Interop()
    with ExitStack() as stack:
        apps = {
            "grpcio": stack.enter_context(grpcio_server(service)),
            "limited": stack.enter_context(grpcio_server(service, max_streams=LIMITED)),
        }
        for library in LIBRARIES[1:]:
            command = languages.command(library, "server")
            if command is not None:
                server = telling_its_port([*command, SERVICE], languages.environment)
                apps[library] = stack.enter_context(server)
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))  # and does not listen
        apps["dead"] = closed.getsockname()[1]
        folder = tmp_path_factory.mktemp("grpc")
        pair = stack.enter_context(paired(folder, apps))
        yield Place(pair, languages, service)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("server", LIBRARIES)
@pytest.mark.parametrize("client", LIBRARIES)
def test_libraries_understand_each_other(
    place: Place, client: str, server: str, way: str
) -> None:
    if (server, way) not in place.pair.ports:
        missing(server)

    expected = dict(EXPECTED)
    if "grpclib" in (client, server):
        for each in COMPRESSED:
            del expected[each]
    if client == server == "grpclib":
        # Its server leaves out the content type that its client insists on.
        expected["unimplemented_method"] = expected["unimplemented_service"] = [2]

    saw = place.seen_by(client, place.pair.port(server, way), [*expected])

    assert saw == expected


def test_a_cancelled_call_is_cancelled_at_the_server(place: Place, way: str) -> None:
    service = place.service
    service.begun.clear()
    service.ended.clear()
    with Client(place.pair.port("grpcio", way)) as client:
        call = client.unary("Sleep").future(b"", timeout=PATIENCE)
        assert service.begun.wait(PATIENCE)

        call.cancel()

        assert service.ended.wait(PATIENCE)
        assert code(call) == 1


def test_a_deadline_of_a_client_is_one_of_the_server(place: Place, way: str) -> None:
    service = place.service
    service.ended.clear()
    with Client(place.pair.port("grpcio", way)) as client:
        assert code(client.failure("Sleep", timeout=0.2)) == 4

    assert service.ended.wait(PATIENCE)


def test_a_server_with_few_streams_is_given_more_connections(
    place: Place, way: str
) -> None:
    held = 4 * LIMITED
    place.service.all_held = threading.Barrier(held)
    with Client(place.pair.port("limited", way)) as client:
        method = client.unary("Hold")
        calls = [method.future(b"x", timeout=PATIENCE) for _ in range(held)]

        assert [each.result() for each in calls] == [b"x"] * held


def test_a_dead_server_is_unavailable_and_the_client_is_told_why(
    place: Place, way: str
) -> None:
    with Client(place.pair.port("dead", way)) as client:
        error = client.failure("Echo")

    assert code(error) == 14
    assert "onnect" in error.details()
