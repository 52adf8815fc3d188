"""Connections are opened, or fail with what people will read."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from meshfilters.errors import ConnectFailed, ConnectTimeout
from meshfilters.exchange import Endpoint
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream
from proxy.upstream.dial import Dialer


@pytest.fixture
async def dialer() -> AsyncIterator[Dialer]:
    readiness = Readiness()
    yield Dialer(readiness, 0.05)
    assert repr(readiness) == "<Readiness 0 watched>"
    readiness.close()


def endpoint(listener: socket.socket) -> Endpoint:
    host, port = listener.getsockname()[:2]
    return Endpoint("api", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]
)
async def test_an_address_is_connected_to(
    dialer: Dialer, host: str, family: socket.AddressFamily
) -> None:
    with socket.create_server((host, 0), family=family) as listener:
        stream = await dialer(endpoint(listener))
        accepted, _ = listener.accept()
        with accepted:
            accepted.send(b"hello")
            assert await stream.receive_some() == b"hello"

    assert isinstance(stream, SocketStream)
    await stream.aclose()


async def test_so_is_a_path(dialer: Dialer, tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        stream = await dialer(Endpoint("api", f"unix:{path}"))
        accepted, _ = listener.accept()
        with accepted:
            accepted.send(b"hello")
            assert await stream.receive_some() == b"hello"

    await stream.aclose()


async def test_a_port_that_refuses_is_told_of(dialer: Dialer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = endpoint(listener)

    with pytest.raises(ConnectFailed, match="Connection refused") as caught:
        await dialer(gone)
    assert gone.address in str(caught.value)
    assert caught.value.by == "forward"
    assert not caught.value.sent


async def test_so_is_a_path_that_is_not_there(dialer: Dialer, tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match="No such file"):
        await dialer(Endpoint("api", f"unix:{tmp_path}/app.sock"))


async def test_an_endpoint_that_does_not_answer_times_out(dialer: Dialer) -> None:
    with (
        socket.socket() as listener,
        socket.socket() as first,
        socket.socket() as second,
    ):
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for each in (first, second):  # the backlog is full
            each.setblocking(False)
            each.connect_ex(listener.getsockname())

        with pytest.raises(ConnectTimeout, match=r"within 0\.05 s") as caught:
            await dialer(endpoint(listener))

    assert caught.value.by == "forward"


@pytest.mark.parametrize("has_unused", [True, False])
async def test_out_of_descriptors_unused_ones_are_given_up_first(
    has_unused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    readiness = Readiness()
    made = socket.socket
    failures = [OSError(errno.EMFILE, "Too many open files")]

    def scarce(family: socket.AddressFamily) -> socket.socket:
        if failures:
            raise failures.pop()
        return made(family)

    dialer = Dialer(readiness, 0.05, lambda: has_unused)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(socket, "socket", scarce)
        if has_unused:
            await (await dialer(endpoint(listener))).aclose()
        else:
            with pytest.raises(ConnectFailed, match="Too many open files"):
                await dialer(endpoint(listener))
    readiness.close()


async def test_a_dial_that_is_cancelled_leaves_nothing_open(dialer: Dialer) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        trio.CancelScope() as scope,
    ):
        scope.cancel()
        await dialer(endpoint(listener))

    assert scope.cancelled_caught
