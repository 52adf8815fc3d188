"""The demo's gRPC works without a mesh, too."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tulle.demo.rates import UNAVAILABLE, Rates, serve


@contextmanager
def rating(failing: float) -> Iterator[str]:
    """The service on a port of its own, as ``host:port``."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening, failing))
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(1)


def test_calls_are_answered_on_one_connection() -> None:
    with rating(0) as address:
        rates = Rates(address, 5)
        said = [rates.get()]
        first = rates._talk
        said += [rates.get(), rates.get()]

        assert said == [0, 0, 0]
        assert rates._talk is first is not None
        rates.close()


def test_it_fails_as_often_as_it_is_told_to() -> None:
    with rating(1) as address:
        rates = Rates(address, 5)

        assert [rates.get(), rates.get()] == [UNAVAILABLE, UNAVAILABLE]
        rates.close()


def test_nobody_there_is_no_answer_and_the_next_call_connects_anew() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    rates = Rates(f"127.0.0.1:{port}", 5)
    assert rates.get() is None

    with rating(0) as address:
        rates._sidecar = address
        assert rates.get() == 0
        rates.close()


def test_a_connection_that_ends_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()

        def hang_up_once() -> None:
            listening.accept()[0].close()

        thread = threading.Thread(target=hang_up_once)
        thread.start()
        rates = Rates(f"{host}:{port}", 5)
        said = rates.get()
        thread.join()

        assert said is None
        assert rates._talk is None
