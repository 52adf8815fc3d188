"""Bodies go out by turns, as far as windows and frames allow."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hyperframe.frame import SettingsFrame, WindowUpdateFrame

from proxy.codec.h2.bodies import FRAME, Bodies
from tests.proxy.codec.h2.ends import GET, frames


@pytest.fixture
def connection() -> H2Connection:
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    for stream in (1, 3, 5):
        connection.send_headers(stream, GET)
    connection.data_to_send()
    return connection


def grant(connection: H2Connection, stream: int, size: int) -> None:
    connection.receive_data(
        WindowUpdateFrame(stream, window_increment=size).serialize()
    )


def sent(connection: H2Connection, bodies: Bodies) -> list[tuple[int, int]]:
    """Streams and sizes of the frames that go out now."""
    bodies.send()
    found = frames(connection.data_to_send())
    return [(each.stream_id, each.body_len) for each in found if each.stream_id]


def test_streams_take_turns(connection: H2Connection) -> None:
    bodies = Bodies(connection)
    bodies.add(1, b"x" * 20_000, is_end=True)
    bodies.add(3, b"x" * 20_000, is_end=True)
    bodies.add(5, b"", is_end=True)

    rest = 20_000 - FRAME
    order = [(1, FRAME), (3, FRAME), (5, 0), (1, rest), (3, rest)]
    assert sent(connection, bodies) == order
    assert bodies.send() == []


def test_who_waited_is_first(connection: H2Connection) -> None:
    bodies = Bodies(connection)
    for stream in (1, 3, 5):
        bodies.add(stream, b"x" * 30_000, is_end=False)
    first = sent(connection, bodies)
    assert sum(size for _, size in first) == 65_535
    assert [stream for stream, _ in first] == [1, 3, 5, 1, 3]

    grant(connection, 0, 10_000)
    assert sent(connection, bodies) == [(5, 10_000)]
    grant(connection, 0, 5_000)
    assert sent(connection, bodies) == [(3, 5_000)]
    assert bodies.size(5) == 30_000 - FRAME - 10_000


def test_one_blocked_stream_blocks_no_other(connection: H2Connection) -> None:
    connection.receive_data(
        SettingsFrame(0, settings={SettingCodes.INITIAL_WINDOW_SIZE: 100}).serialize()
    )
    connection.data_to_send()
    grant(connection, 3, 1000)
    bodies = Bodies(connection)
    bodies.add(1, b"x" * 500, is_end=True)
    bodies.add(3, b"x" * 500, is_end=True)

    assert sent(connection, bodies) == [(1, 100), (3, 500)]
    assert (bodies.size(1), bodies.size(3)) == (400, 0)


def test_an_end_needs_no_window(connection: H2Connection) -> None:
    bodies = Bodies(connection)
    bodies.add(1, b"x" * 10_000, is_end=False)
    sent(connection, bodies)
    shrunk = SettingsFrame(0, settings={SettingCodes.INITIAL_WINDOW_SIZE: 10})
    connection.receive_data(shrunk.serialize())
    connection.data_to_send()
    assert connection.local_flow_control_window(1) < 0

    bodies.add(1, b"", is_end=True)
    bodies.add_trailers(3, [(b"x", b"y")])
    assert bodies.send() == [1, 3]


def test_trailers_stand_behind_the_body(connection: H2Connection) -> None:
    bodies = Bodies(connection)
    bodies.add(1, b"x" * 100, is_end=False)
    bodies.add_trailers(1, [(b"x", b"y")])

    assert bodies.send() == [1]
    kinds = [type(each).__name__ for each in frames(connection.data_to_send())]
    assert kinds == ["DataFrame", "HeadersFrame"]


def test_what_is_dropped_is_not_sent(connection: H2Connection) -> None:
    bodies = Bodies(connection)
    bodies.add(1, b"x", is_end=True)
    bodies.drop(1)
    bodies.drop(1)

    assert bodies.size(1) == 0
    assert sent(connection, bodies) == []
