from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer

import pytest

from tests.tulle.demo.test_rates import rating
from tulle.demo.apps import App, api, call, following, web


@contextmanager
def served(app: type[App]) -> Iterator[str]:
    """An application on a port of its own, as ``host:port``."""
    with ThreadingHTTPServer(("127.0.0.1", 0), app) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def calling(address: str) -> Iterator[HTTPConnection]:
    connection = HTTPConnection(address, timeout=5)
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(1)


def test_api_says_its_version_and_who_called() -> None:
    with served(api("v1", 0)) as address, calling(address) as connection:
        connection.request("GET", "/", headers={"l5d-client-id": "spiffe://x/web"})
        answer = connection.getresponse()

        assert answer.status == 200
        assert json.load(answer) == {"api": "v1", "called_by": "spiffe://x/web"}


def test_api_fails_as_often_as_it_is_told_to() -> None:
    with served(api("v2", 1)) as address, calling(address) as connection:
        assert [call(connection)[0] for _ in range(3)] == [503, 503, 503]


def test_a_connection_is_kept() -> None:
    with served(api("v1", 0)) as address, calling(address) as connection:
        call(connection)
        first = connection.sock
        call(connection)

        assert connection.sock is first is not None


def test_web_answers_with_what_api_said() -> None:
    with served(api("v1", 0)) as behind, rating(0) as rates:
        with served(web(behind, rates)) as address, calling(address) as connection:
            status, said = call(connection)

    assert status == 200
    assert json.loads(said) == {"web": "hello", "called_by": None, "api": "v1"}


@pytest.mark.parametrize(("api_fails", "rates_fail"), [(1, 0), (0, 1)])
def test_web_fails_when_what_it_asks_does(api_fails: int, rates_fail: int) -> None:
    with served(api("v2", api_fails)) as behind, rating(rates_fail) as rates:
        with served(web(behind, rates)) as address, calling(address) as connection:
            assert call(connection)[0] == 502


def test_no_answer_is_no_status_and_the_next_call_is_on_a_new_connection() -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        host, port = listening.getsockname()
        connection = stack.enter_context(calling(f"{host}:{port}"))

        def hang_up_once() -> None:
            listening.accept()[0].close()

        thread = threading.Thread(target=hang_up_once)
        thread.start()
        said = call(connection)
        thread.join()

        assert said == (None, b"")
        assert connection.sock is None


@pytest.mark.parametrize(
    ("now", "due"),
    [(10.0, 10.2), (10.5, 10.2), (11.2, 10.2), (17.0, 16.0)],
    ids=["on time", "late", "a second late", "very late"],
)
def test_calls_are_made_up_for_but_of_a_second_at_most(now: float, due: float) -> None:
    assert following(10.0, 0.2, now) == pytest.approx(due)
