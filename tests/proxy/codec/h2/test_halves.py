"""Tests for proxy.codec.h2.halves."""

from __future__ import annotations

import pytest

from proxy.codec.h2.codec import NO_ERROR, PROTOCOL_ERROR, STREAM_CLOSED
from proxy.codec.h2.halves import LATE, Halves


@pytest.fixture
def of_client() -> Halves:
    """What a server knows of its client's halves."""
    return Halves("server")


def test_a_body_comes_until_its_end(of_client: Halves) -> None:
    assert of_client.head(1, is_end=False) == NO_ERROR
    assert of_client.data(1, is_end=False) == NO_ERROR
    assert of_client.data(1, is_end=True) == NO_ERROR
    assert of_client.data(1, is_end=True) == STREAM_CLOSED


def test_trailers_end_a_body(of_client: Halves) -> None:
    of_client.head(1, is_end=False)

    assert of_client.head(1, is_end=True) == NO_ERROR
    assert of_client.head(1, is_end=True) == STREAM_CLOSED


def test_nothing_comes_behind_a_reset(of_client: Halves) -> None:
    of_client.head(1, is_end=False)
    of_client.reset(1)

    assert of_client.data(1, is_end=False) == STREAM_CLOSED


def test_numbers_that_were_left_out_stay_so(of_client: Halves) -> None:
    of_client.head(1, is_end=True)
    of_client.head(7, is_end=True)

    assert of_client.head(5, is_end=True) == PROTOCOL_ERROR
    assert of_client.head(1, is_end=True) == STREAM_CLOSED


def test_streams_not_begun_are_the_librarys_business(of_client: Halves) -> None:
    assert of_client.data(0, is_end=True) == NO_ERROR
    assert of_client.data(9, is_end=True) == NO_ERROR


def test_a_server_answers_what_was_asked() -> None:
    of_server = Halves("client")
    of_server.opened(1)

    assert of_server.head(1, is_end=False) == NO_ERROR
    assert of_server.head(1, is_end=True) == NO_ERROR
    assert of_server.data(1, is_end=False) == STREAM_CLOSED
    assert of_server.head(3, is_end=True) == NO_ERROR


def test_streams_that_are_alive_are_never_forgotten() -> None:
    of_client = Halves("server", alive={1})
    for stream in range(1, 20 * LATE, 2):
        of_client.head(stream, is_end=False)

    assert of_client.data(1, is_end=False) == NO_ERROR
    assert of_client.data(3, is_end=False) == STREAM_CLOSED
    assert of_client.data(stream, is_end=False) == NO_ERROR


def test_a_client_remembers_only_so_many_that_were_given_up() -> None:
    of_server = Halves("client", alive=())
    for stream in range(1, 20_001, 2):
        of_server.opened(stream)

    assert len(of_server._open) <= LATE + 1
    assert of_server.head(19_999, is_end=True) == NO_ERROR
