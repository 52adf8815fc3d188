from __future__ import annotations

import pytest

from benchmarks.mute_origin import ACK, PING, PREFACE, SETTINGS, Peer, frame

SAID = (
    PREFACE
    + frame(SETTINGS, 0, bytes(6))
    + b"\0\0\x03\x01\x05\0\0\0\x01abc"  # HEADERS, stream 1
    + frame(PING, 0, b"whatever")
    + b"\0\0\x03\x01\x05\0\0\0\x03abc"
)


def test_requests_are_counted_and_not_answered() -> None:
    peer = Peer()

    answer = peer.receive(SAID)

    assert peer.streams == 2
    assert answer == frame(SETTINGS, ACK, b"") + frame(PING, ACK, b"whatever")


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_however_the_bytes_come(size: int) -> None:
    peer = Peer()
    pieces = [SAID[at : at + size] for at in range(0, len(SAID), size)]

    answer = b"".join(peer.receive(each) for each in pieces)

    assert peer.streams == 2
    assert answer == Peer().receive(SAID)


def test_what_is_acknowledged_is_not_acknowledged_back() -> None:
    assert Peer().receive(PREFACE + frame(SETTINGS, ACK, b"")) == b""


def test_a_request_that_is_given_up_is_not_held() -> None:
    peer = Peer()
    reset = b"\0\0\x04\x03\0\0\0\0\x01" + bytes(4)

    peer.receive(SAID + reset)

    assert peer.streams == 1
