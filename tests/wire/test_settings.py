"""What ``http2:`` grants in the configuration is what the other side is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from hyperframe.frame import SettingsFrame, WindowUpdateFrame

from tests.wire.backend import DEFAULT_WINDOW, Backend
from tests.wire.client import Address
from tests.wire.frames import Frames
from tests.wire.running import free_ports, running

pytestmark = [pytest.mark.slow, pytest.mark.wire]

MESH = """\
version: 1
listeners:
  app: {{address: "127.0.0.1:{port}", to: app, request: []{listener}}}
services:
  app: {{endpoints: ["{origin}"], protocol: http2{service}}}
"""


@attrs.frozen
class Grants:
    """What one side may send."""

    max_streams: int | None
    stream_window: int
    connection_window: int
    max_frame: int

    @property
    def written(self) -> str:
        """As more of a listener or a service."""
        words = (f"{name}: {value}" for name, value in attrs.asdict(self).items())
        return f", http2: {{{', '.join(words)}}}"


def told(settings: dict[int, int], connection: int) -> Grants:
    return Grants(
        settings.get(SettingsFrame.MAX_CONCURRENT_STREAMS),
        settings[SettingsFrame.INITIAL_WINDOW_SIZE],
        connection,
        settings[SettingsFrame.MAX_FRAME_SIZE],
    )


@contextmanager
def proxied(
    backend: Backend, folder: Path, listener: str = "", service: str = ""
) -> Iterator[Address]:
    (port,) = free_ports(1)
    origin = "{}:{}".format(*backend.address)
    text = MESH.format(port=port, origin=origin, listener=listener, service=service)
    (folder / "mesh.yaml").write_text(text)
    arguments = ["-c", str(folder / "mesh.yaml")]
    with running(arguments, [port], folder / "proxy.log") as proxy:
        yield proxy.addresses[0]


def granted(address: Address, backend: Backend) -> tuple[Grants, Grants]:
    """What a client, and what an origin, is granted before anything has gone through."""
    with Frames(address) as client:
        assert client.ask(1).status == 200
    settings: dict[int, int] = {}
    connection = DEFAULT_WINDOW
    for each in client.received:
        if isinstance(each, SettingsFrame):
            settings |= each.settings
        elif isinstance(each, WindowUpdateFrame) and each.stream_id == 0:
            connection += each.window_increment
    (origin,) = backend.conversations
    return told(settings, connection), told(origin.settings, origin.windows[0])


def test_each_side_is_told_what_its_configuration_says(tmp_path: Path) -> None:
    client = Grants(7, 70_000, 300_000, 20_000)
    origin = Grants(9, 80_000, 400_000, 30_000)
    words = (client.written, origin.written)
    with Backend() as backend, proxied(backend, tmp_path, *words) as address:
        found = granted(address, backend)

    # An origin opens no streams.
    assert found == (client, attrs.evolve(origin, max_streams=None))


def test_each_side_is_told_the_documented_defaults(tmp_path: Path) -> None:
    with Backend() as backend, proxied(backend, tmp_path) as address:
        found = granted(address, backend)

    client = Grants(100, 65_535, 1024 * 1024, 16_384)
    assert found == (client, attrs.evolve(client, max_streams=None))
