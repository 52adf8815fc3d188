"""Accepting connections: up to a cap, and past what the kernel throws at it."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from proxy.downstream.listen import PAUSE, QUIET, TURN, Listener
from proxy.transport.descriptors import Relieve, nothing_unused
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream

Accepted = tuple[socket.socket, object]


class Faulty(socket.socket):
    """A listening socket that first does what its script says."""

    script: list[Exception | Callable[[], None]]

    def accept(self) -> Accepted:
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, Exception):
                raise step
            step()
        return super().accept()


class Site:
    """A listener in use, and those who come to it."""

    def __init__(
        self,
        nursery: trio.Nursery,
        held: ExitStack,
        sock: socket.socket,
        *,
        cap: int = 100,
        relieve: Relieve = nothing_unused,
        sheds: bool = False,
    ) -> None:
        self.addresses: list[tuple[str, str]] = []
        self.go = trio.Event()
        self.streams: list[SocketStream] = []
        self.shed = 0
        self._held = held
        self._scopes: dict[SocketStream, trio.CancelScope] = {}
        self._name = sock.getsockname()
        self._family = sock.family
        readiness = Readiness()
        shed = self._shed if sheds else None
        self.listener = Listener(
            "web", sock, readiness, self._serve, cap, relieve, shed=shed
        )
        nursery.start_soon(readiness.run)
        nursery.start_soon(self.listener.run)

    async def _serve(self, stream: SocketStream, client: str, server: str) -> None:
        self.streams.append(stream)
        self.addresses.append((client, server))
        with self._scopes.setdefault(stream, trio.CancelScope()):
            await self.go.wait()

    def _shed(self) -> None:
        self._scopes[self.streams[self.shed]].cancel()
        self.shed += 1

    def come(self) -> socket.socket:
        """Connect; the kernel needs no accept for that."""
        client = self._held.enter_context(socket.socket(self._family))
        client.settimeout(5)
        client.connect(self._name)
        return client


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


def listening(held: ExitStack, address: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return held.enter_context(socket.create_server((address, 0), family=family))


def faulty(held: ExitStack, *script: Exception | Callable[[], None]) -> Faulty:
    sock = held.enter_context(Faulty())
    sock.script = list(script)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


async def test_who_comes_is_served_and_known_by_address(
    nursery: trio.Nursery, held: ExitStack
) -> None:
    site = Site(nursery, held, listening(held))

    client = site.come()
    await wait_all_tasks_blocked()

    ours, theirs = client.getsockname(), client.getpeername()
    assert site.addresses == [
        (f"127.0.0.1:{ours[1]}", f"127.0.0.1:{theirs[1]}"),
    ]
    assert (site.listener.accepted, site.listener.active) == (1, 1)


async def test_who_comes_to_any_address_is_asked_which(
    nursery: trio.Nursery, held: ExitStack
) -> None:
    site = Site(nursery, held, listening(held, "0.0.0.0"))

    site._name = ("127.0.0.2", site._name[1])
    site.come()
    await wait_all_tasks_blocked()

    assert site.addresses[0][1] == f"127.0.0.2:{site._name[1]}"


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
async def test_addresses_of_version_6_are_shown_as_people_write_them(
    nursery: trio.Nursery, held: ExitStack, address: str
) -> None:
    sock = held.enter_context(socket.socket(socket.AF_INET6))
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 0))
    sock.listen()
    site = Site(nursery, held, sock)

    held.enter_context(socket.create_connection((address, sock.getsockname()[1])))
    await wait_all_tasks_blocked()

    ((client, _),) = site.addresses
    shown = f"[{address}]" if ":" in address else address
    assert client.rpartition(":")[0] == shown


async def test_a_file_may_be_listened_on(
    nursery: trio.Nursery, held: ExitStack, tmp_path: Path
) -> None:
    sock = held.enter_context(socket.socket(socket.AF_UNIX))
    sock.bind(str(tmp_path / "app.sock"))
    sock.listen()
    site = Site(nursery, held, sock)

    site.come()
    await wait_all_tasks_blocked()

    assert site.addresses == [("unix", "unix")]


async def test_a_crowd_is_accepted_in_turns(
    nursery: trio.Nursery, held: ExitStack
) -> None:
    site = Site(nursery, held, listening(held))

    for _ in range(TURN + 3):
        site.come()
    await wait_all_tasks_blocked()

    assert site.listener.active == TURN + 3


async def test_at_the_cap_others_wait(
    nursery: trio.Nursery, held: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(nursery, held, listening(held), cap=2)
    for _ in range(3):
        site.come()
    with caplog.at_level(logging.WARNING):
        await wait_all_tasks_blocked()
    assert site.listener.active == 2
    assert caplog.messages == [
        "listener at its cap listener=web max_connections=2; clients wait"
    ]

    site.go.set()
    await wait_all_tasks_blocked()

    assert site.listener.accepted == 3
    assert site.listener.active == 0


async def test_a_cap_that_is_reached_often_is_told_seldom(
    nursery: trio.Nursery,
    held: ExitStack,
    caplog: pytest.LogCaptureFixture,
    mock_clock: MockClock,
) -> None:
    site = Site(nursery, held, listening(held), cap=1)
    site.go.set()

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            site.come()
            await wait_all_tasks_blocked()
        assert len(caplog.messages) == 1
        mock_clock.jump(QUIET)
        site.come()
        await wait_all_tasks_blocked()

    assert len(caplog.messages) == 2


async def test_a_higher_cap_lets_waiting_clients_in(
    nursery: trio.Nursery, held: ExitStack
) -> None:
    site = Site(nursery, held, listening(held), cap=1)
    for _ in range(3):
        site.come()
    await wait_all_tasks_blocked()
    assert site.listener.active == 1

    site.listener.resize(3)
    await wait_all_tasks_blocked()

    assert site.listener.active == 3


async def test_a_client_that_left_before_it_was_accepted_is_forgotten(
    nursery: trio.Nursery, held: ExitStack, mock_clock: MockClock
) -> None:
    sock = faulty(held, OSError(errno.ECONNABORTED, "aborted"))
    site = Site(nursery, held, sock)

    site.come()
    await wait_all_tasks_blocked()

    assert site.listener.active == 1
    assert site.listener.overloads == 0


async def test_out_of_descriptors_one_client_is_dropped_and_the_rest_wait(
    nursery: trio.Nursery,
    held: ExitStack,
    mock_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reserve: list[int] = []

    def is_given_up() -> None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(reserve[0])

    sock = faulty(held, OSError(errno.EMFILE, "Too many open files"), is_given_up)
    site = Site(nursery, held, sock)
    reserve.append(site.listener._reserve)
    dropped, waiting = site.come(), site.come()
    with caplog.at_level(logging.ERROR):
        await wait_all_tasks_blocked()
    assert dropped.recv(1) == b""
    assert site.listener.accepted == 0
    assert caplog.messages == [
        "cannot accept listener=web error=Too many open files",
    ]

    mock_clock.jump(PAUSE)
    await wait_all_tasks_blocked()

    assert site.addresses[0][0].endswith(f":{waiting.getsockname()[1]}")
    assert site.listener.statistics() == {
        "accepted": 1,
        "active": 1,
        "cap": 100,
        "overloads": 1,
    }
    os.fstat(site.listener._reserve)


async def test_out_of_descriptors_nobody_is_dropped_while_some_are_unused(
    nursery: trio.Nursery, held: ExitStack
) -> None:
    relieved = iter([True, True])
    full = OSError(errno.EMFILE, "Too many open files")
    site = Site(nursery, held, faulty(held, full, full), relieve=lambda: next(relieved))

    site.come()
    await wait_all_tasks_blocked()

    assert site.listener.active == 1
    assert site.listener.overloads == 0


async def test_without_a_reserve_an_overload_only_pauses(
    nursery: trio.Nursery,
    held: ExitStack,
    mock_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = OSError(errno.ENFILE, "too many")

    def none_left(*_: object) -> int:
        raise full

    site = Site(nursery, held, faulty(held, full, full, full, full))
    site.come()
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", none_left)
        await wait_all_tasks_blocked()
        mock_clock.jump(PAUSE)
        await wait_all_tasks_blocked()
        assert site.listener._reserve == -1
        mock_clock.jump(PAUSE / 2)

    mock_clock.jump(PAUSE)
    await wait_all_tasks_blocked()

    assert site.listener.overloads == 2
    assert site.listener.active == 1
    assert site.listener._reserve >= 0


async def test_an_overloaded_listener_can_be_stopped(
    nursery: trio.Nursery, held: ExitStack, mock_clock: MockClock
) -> None:
    full = OSError(errno.EMFILE, "too many")
    site = Site(nursery, held, faulty(held, full, full))
    site.come()
    await wait_all_tasks_blocked()
    assert site.listener._reserve == -1

    site.listener.stop()
    await wait_all_tasks_blocked()
    site.go.set()
    await wait_all_tasks_blocked()

    assert site.listener.closed.is_set()


async def test_an_error_nobody_expects_does_not_make_it_spin(
    nursery: trio.Nursery,
    held: ExitStack,
    mock_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd = [OSError(errno.EINVAL, "Invalid argument") for _ in range(1000)]
    sock = faulty(held, *odd)
    site = Site(nursery, held, sock)
    site.come()

    with caplog.at_level(logging.ERROR):
        await wait_all_tasks_blocked()

    assert len(sock.script) == 999
    assert caplog.messages == ["cannot accept listener=web error=Invalid argument"]
    sock.script.clear()
    mock_clock.jump(PAUSE)
    await wait_all_tasks_blocked()
    assert site.listener.active == 1


async def test_stopping_takes_what_is_queued_and_waits_for_the_last(
    nursery: trio.Nursery, held: ExitStack
) -> None:
    sock = listening(held)
    site = Site(nursery, held, sock)
    site.come()
    await wait_all_tasks_blocked()

    site.come()
    site.come()
    site.listener.stop()
    await wait_all_tasks_blocked()

    assert site.listener.accepted == 3
    assert sock.fileno() == -1
    assert not site.listener.closed.is_set()
    with pytest.raises(ConnectionRefusedError):
        site.come()
    site.go.set()
    await wait_all_tasks_blocked()
    assert site.listener.closed.is_set()


async def test_stopping_at_the_cap_takes_no_more(
    nursery: trio.Nursery, held: ExitStack
) -> None:
    site = Site(nursery, held, listening(held), cap=1)
    site.come()
    site.come()
    await wait_all_tasks_blocked()

    site.listener.stop()
    await wait_all_tasks_blocked()

    assert site.listener.accepted == 1


async def test_a_cut_ends_every_connection(
    nursery: trio.Nursery, held: ExitStack
) -> None:
    site = Site(nursery, held, listening(held))
    client = site.come()
    await wait_all_tasks_blocked()
    reserve = site.listener._reserve

    site.listener.cut()
    await wait_all_tasks_blocked()

    assert client.recv(1) == b""
    assert site.listener.closed.is_set()
    assert site.listener.active == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reserve)


async def test_a_connection_that_broke_at_once_gives_its_place_back(
    nursery: trio.Nursery, held: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(sock: socket.socket, readiness: Readiness) -> SocketStream:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("proxy.downstream.listen.SocketStream", broken)
    site = Site(nursery, held, listening(held))

    client = site.come()
    await wait_all_tasks_blocked()

    assert client.recv(1) == b""
    assert (site.listener.accepted, site.listener.active) == (1, 0)


async def test_a_listener_is_shown(nursery: trio.Nursery, held: ExitStack) -> None:
    site = Site(nursery, held, listening(held))

    assert repr(site.listener) == "<Listener web: 0 active>"


async def test_at_the_cap_one_is_shed_for_who_comes(
    nursery: trio.Nursery, held: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(nursery, held, listening(held), cap=2, sheds=True)
    with caplog.at_level(logging.WARNING):
        first = site.come()
        await wait_all_tasks_blocked()
        site.come()
        await wait_all_tasks_blocked()
        assert (site.shed, site.listener.active) == (0, 2)

        site.come()
        await wait_all_tasks_blocked()

    assert first.recv(1) == b""
    assert (site.shed, site.listener.accepted, site.listener.active) == (1, 3, 2)
    assert caplog.messages == [
        "listener at its cap listener=web max_connections=2; the oldest are closed"
    ]


async def test_nobody_is_shed_where_there_is_room_again(
    nursery: trio.Nursery, held: ExitStack
) -> None:
    site = Site(nursery, held, listening(held), cap=1, sheds=True)
    site.come()
    await wait_all_tasks_blocked()

    site.go.set()
    await wait_all_tasks_blocked()
    site.come()
    await wait_all_tasks_blocked()

    assert (site.shed, site.listener.accepted) == (0, 2)
