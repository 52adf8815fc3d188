"""Listening sockets: shared by slots, refused to strangers, removed with their files."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.supervisor.sockets import CannotListen, Listening, Place, shown


@pytest.fixture
def listening() -> Iterator[Listening]:
    listening = Listening()
    yield listening
    listening.close_others(())


def places(address: str, slots: int = 1, owner: str = "web") -> dict[Place, int]:
    return {Place.of(owner, address, slot): 16 for slot in range(slots)}


def port(listening: Listening, place: Place) -> int:
    return int(listening.sockets[place].getsockname()[1])


def test_the_slots_of_an_address_share_its_port(listening: Listening) -> None:
    wanted = places("127.0.0.1:0", slots=3)

    listening.open(wanted)

    assert len({port(listening, place) for place in wanted}) == 1
    assert len({held.fileno() for held in listening.sockets.values()}) == 3


def test_what_is_accepted_is_tuned(listening: Listening) -> None:
    wanted = places("127.0.0.1:0")
    listening.open(wanted)
    (place,) = wanted
    with socket.create_connection(("127.0.0.1", port(listening, place))):
        select.select([listening.sockets[place]], [], [], 5)
        accepted, _ = listening.sockets[place].accept()

    with accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
        assert (
            accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        )


def test_two_listeners_on_any_port_have_two(listening: Listening) -> None:
    one, two = places("127.0.0.1:0", owner="a"), places("127.0.0.1:0", owner="b")

    listening.open(one | two)

    assert len({port(listening, place) for place in one | two}) == 2


def test_an_address_in_use_changes_nothing(listening: Listening) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = shown(taken)
        with pytest.raises(CannotListen, match=f"{address}: the address is in use"):
            listening.open(places("127.0.0.1:0") | places(address))

    assert not listening.sockets


def test_a_second_proxy_cannot_share_a_port(listening: Listening) -> None:
    listening.open(places("127.0.0.1:0"))
    [held] = listening.sockets.values()

    with pytest.raises(CannotListen, match="in use"):
        Listening().open(places(shown(held)))


def test_what_is_open_stays_open_when_more_is_wanted(listening: Listening) -> None:
    first = places("127.0.0.1:0")
    listening.open(first)
    before = dict(listening.sockets)

    listening.open(places("127.0.0.1:0", slots=2))

    assert listening.sockets.items() >= before.items()


def test_what_is_not_wanted_is_closed(listening: Listening) -> None:
    listening.open(places("127.0.0.1:0", slots=2))
    dropped = listening.sockets[Place("127.0.0.1:0", 1, "web")]

    listening.close_others(places("127.0.0.1:0"))

    assert dropped.fileno() == -1
    assert list(listening.sockets) == [Place("127.0.0.1:0", 0, "web")]


def test_the_v6_wildcard_takes_v4_as_well(listening: Listening) -> None:
    listening.open(places("[::]:0"))
    [held] = listening.sockets.values()

    with socket.create_connection(("127.0.0.1", held.getsockname()[1])):
        assert shown(held) == f"[::]:{held.getsockname()[1]}"


def test_a_unix_socket_is_one_for_all_slots(
    listening: Listening, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    listening.open(places(f"unix:{path}", slots=2))
    one, two = listening.sockets.values()

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        two.accept()[0].close()
        with pytest.raises(BlockingIOError):
            one.accept()
    listening.close_others(places(f"unix:{path}"))
    assert path.exists()
    listening.close_others(())
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(listening: Listening, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    listening.open(places(f"unix:{path}"))

    [held] = listening.sockets.values()
    assert shown(held) == f"unix:{path}"


def test_a_unix_socket_that_is_listened_on_is_in_use(
    listening: Listening, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(path))

            with pytest.raises(CannotListen, match="in use"):
                listening.open(places(f"unix:{path}"))
    assert path.exists()


def test_another_file_is_never_removed(listening: Listening, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")

    with pytest.raises(CannotListen, match="in use"):
        listening.open(places(f"unix:{path}"))

    assert path.read_text() == "precious"


def test_a_child_lets_go_without_removing_files(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listening = Listening()
    listening.open(places(f"unix:{path}"))

    listening.release()

    assert not listening.sockets
    assert path.exists()


def test_a_socket_that_closes_has_its_queue_served_and_takes_no_more(
    listening: Listening,
) -> None:
    listening.open(places("127.0.0.1:0"))
    [held] = listening.sockets.values()
    with held.dup() as worker, socket.socket() as early, socket.socket() as late:
        early.connect(worker.getsockname())

        listening.close_others(())

        late.setblocking(False)
        assert late.connect_ex(worker.getsockname()) == errno.EINPROGRESS
        assert select.select([], [late], [], 0) == ([], [], [])
        accepted, _ = worker.accept()
        with accepted:
            early.sendall(b"question")
            assert accepted.recv(8) == b"question"
