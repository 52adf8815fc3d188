from __future__ import annotations

import time
from typing import cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from meshfilters.client_hello import (
    LARGEST,
    Incomplete,
    clean,
    is_tls,
    peek_server_name,
    server_name,
)
from meshfilters.memory import stream_pair
from meshfilters.stream import Stream


def hello(name: bytes | None = b"api.test") -> bytes:
    """What OpenSSL sends first."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    connection.set_connect_state()
    if name is not None:
        connection.set_tlsext_host_name(name)
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(LARGEST)


HELLO = hello()


def records(message: bytes, size: int) -> bytes:
    """A handshake message in records of ``size`` bytes."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(
        b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts
    )


def vector(content: bytes, size: int = 2) -> bytes:
    return len(content).to_bytes(size, "big") + content


def made(extensions: bytes | None) -> bytes:
    """The smallest ClientHello there is, with ``extensions`` as they are."""
    body = b"\x03\x03" + bytes(32) + b"\0" + vector(b"\x13\x01") + b"\1\0"
    if extensions is not None:
        body += vector(extensions)
    return records(b"\1" + vector(body, 3), LARGEST)


def test_the_name_is_read() -> None:
    assert server_name(HELLO) == "api.test"
    assert server_name(HELLO + b"whatever comes behind it") == "api.test"
    assert server_name(hello(b"API.Test")) == "api.test"


def test_a_hello_may_name_nobody() -> None:
    assert server_name(hello(None)) is None
    assert server_name(made(None)) is None
    assert server_name(made(b"")) is None


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_hello_may_come_in_many_records(size: int) -> None:
    assert server_name(records(HELLO[5:], size)) == "api.test"


def test_a_hello_that_is_not_whole_is_incomplete() -> None:
    for data in (HELLO, records(HELLO[5:], 50)):
        for size in range(len(data)):
            with pytest.raises(Incomplete):
                server_name(data[:size])


def test_a_name_of_another_kind_is_no_host_name() -> None:
    other = b"\1" + vector(b"other") + b"\0" + vector(b"api.test")

    assert server_name(made(b"\0\0" + vector(vector(other)))) == "api.test"
    only = b"\0\0" + vector(vector(b"\1" + vector(b"other")))
    assert server_name(made(only)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x02\x00\x00\x01",
        b"\x15\x03\x01\x00\x02\x01\x00",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff\x01",
        b"\x16\x03\x01\x00\x01\x02",
        made(b"\0"),
        made(b"\0\0\0\x09\0"),
        made(b"\0\0" + vector(vector(b"\0\0\x09x"))),
        records(b"\1" + vector(b"\x03\x03", 3), 9),
    ],
)
def test_what_is_no_hello_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        server_name(data)


@given(st.integers(0, len(HELLO) - 1), st.integers(0, 255))
def test_a_damaged_hello_is_read_or_refused(place: int, value: int) -> None:
    damaged = HELLO[:place] + bytes([value]) + HELLO[place + 1 :]

    try:
        name = server_name(damaged)
    except (ValueError, Incomplete):
        return
    assert name is None or name.isascii()


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        (b"API.test", "api.test"),
        (b"_x-1.test.", "_x-1.test."),
        (b"", None),
        (None, None),
        (b"a\r\nb", None),
        (b"a\0b", None),
        (b"\xc3\xbc", None),
        (b"a" * 256, None),
        (b"...", None),
    ],
)
def test_a_name_unfit_for_a_label_is_none(
    name: bytes | None, cleaned: str | None
) -> None:
    assert clean(name) == cleaned


@pytest.mark.parametrize(
    ("head", "is_it"),
    [
        (b"", False),
        (b"\x16", True),
        (b"\x16\x03", True),
        (b"\x16\x03\x01", True),
        (b"\x16\x02", False),
        (b"GE", False),
    ],
)
def test_tls_begins_with_a_handshake_record(head: bytes, is_it: bool) -> None:
    assert is_tls(head) == is_it


async def test_a_hello_that_comes_byte_by_byte_is_waited_for() -> None:
    near, far = stream_pair()

    async def dribble() -> None:
        for place in range(len(HELLO)):
            await near.send_all(HELLO[place : place + 1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dribble)
        assert await peek_server_name(far) == "api.test"
    assert await far.receive_some(3) == HELLO[:3]


async def test_a_client_that_leaves_amid_its_hello_is_refused() -> None:
    near, far = stream_pair()
    await near.send_all(HELLO[:50])
    await near.send_eof()

    with pytest.raises(ValueError, match="left amid"):
        await peek_server_name(far)


async def test_a_hello_without_end_is_refused() -> None:
    near, far = stream_pair()
    await near.send_all(records(b"\1\xff\xff\xff" + bytes(2 * LARGEST), 1000))

    with pytest.raises(ValueError, match="over 16384 bytes"):
        await peek_server_name(far)


class Dribbling:
    """A client whose hello comes byte by byte."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def peek(self, count: int, at_least: int = 1) -> bytes:
        return self.data[: min(count, at_least)]


async def test_a_hello_in_tiny_records_costs_no_square_of_them() -> None:
    message = b"\1\0\xff\xff" + bytes(LARGEST)
    stream = cast("Stream", Dribbling(records(message, 1)))
    begun = time.process_time()
    with pytest.raises(ValueError, match="over 16384 bytes"):
        await peek_server_name(stream)

    # A twentieth of a second; it was 18 seconds.
    assert time.process_time() - begun < 2
