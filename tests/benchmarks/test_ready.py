from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import ready
from benchmarks.loads.load import Failed, Target
from benchmarks.ready import accepts, answers, is_answer, wait_ready
from benchmarks.rows import BY_NAME

SAID = """\
[  0.000] recv (stream_id=1) :status: 200
[  0.000] recv HEADERS frame <length=94, flags=0x04, stream_id=1>
"""
TRAILERS = "[  0.000] recv (stream_id=1) grpc-status: 0\n"


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_who_listens_accepts(port: int) -> None:
    assert accepts(port)


def test_who_does_not_listen_does_not(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        unheard = bound.getsockname()[1]

        assert not accepts(unheard)
        assert not answers(BY_NAME["h1"], Target(unheard, tmp_path, lambda: 0))


def test_where_nothing_is_answered_it_is_enough_to_listen(
    port: int, tmp_path: Path
) -> None:
    assert answers(BY_NAME["h2-memory"], Target(port, tmp_path, lambda: 0))


def test_a_response_of_200_is_an_answer() -> None:
    assert is_answer(SAID, is_call=False)
    assert not is_answer(SAID.replace("200", "503"), is_call=False)
    assert not is_answer("[ERROR] Could not connect\n", is_call=False)


def test_a_call_is_answered_with_its_trailers_only() -> None:
    assert not is_answer(SAID, is_call=True)
    assert is_answer(SAID + TRAILERS, is_call=True)


def test_http2_needs_nghttp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ready, "program", lambda name: None)

    with pytest.raises(Failed, match="apt-get install nghttp2-client"):
        answers(BY_NAME["h2"], Target(1, tmp_path, lambda: 0))


def test_it_is_asked_until_it_answers() -> None:
    said = [False, False, True]

    wait_ready(lambda: said.pop(0))

    assert said == []
