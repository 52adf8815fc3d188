"""Heads are what their parts say and nothing else, whatever a filter put in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshfilters.message import Headers, Written
from proxy.codec.h1.reader import Reader
from proxy.codec.h1.request import read_request
from proxy.codec.h1.write import (
    CONTINUE,
    UnwritableHead,
    write_chunk,
    write_last_chunk,
    write_request,
    write_response,
)
from proxy.config.model import Http

HOST = (b"Host", b"a.test")
CLOSE = b"Connection: close\r\n"


def request(*fields: tuple[bytes, bytes], length: int | None = 0) -> bytes:
    return write_request(b"GET", b"/", Headers([HOST, *fields]), length)


def response(*fields: tuple[bytes, bytes], length: int | None = 0) -> bytes:
    return write_response(200, Headers(fields), length)


def test_a_request_without_a_body_says_nothing_of_one() -> None:
    assert request() == b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def test_a_request_needs_no_fields() -> None:
    assert write_request(b"GET", b"/", Headers(), 0) == b"GET / HTTP/1.1\r\n\r\n"


def test_a_body_is_framed_by_its_length() -> None:
    assert b"\r\nContent-Length: 5\r\n" in request(length=5)
    assert b"\r\nTransfer-Encoding: chunked\r\n" in request(length=None)
    assert response() == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert response(length=None).endswith(b"Transfer-Encoding: chunked\r\n\r\n")


def test_a_length_that_is_told_rightly_stays_where_it_is() -> None:
    fields = ((b"content-length", b"5"), (b"X", b"y"))

    assert response(*fields, length=5) == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nX: y\r\n\r\n"
    )


@pytest.mark.parametrize("length", [0, 6, None])
def test_a_length_that_is_told_wrongly_is_told_anew(length: int | None) -> None:
    wrong = (b"Content-Length", b"5")

    for written in (request(wrong, length=length), response(wrong, length=length)):
        assert b": 5" not in written
        assert (b"Transfer-Encoding: chunked" in written) == (length is None)
        assert (b"Content-Length: 0" in written) == (length == 0)


def test_a_filter_that_tells_two_lengths_is_refused() -> None:
    twice = [(b"Content-Length", b"7"), (b"content-length", b"5")]

    with pytest.raises(UnwritableHead, match="more than one content-length"):
        response(*twice, length=5)
    with pytest.raises(UnwritableHead, match="more than one content-length"):
        request(*twice, length=5)


def test_so_is_one_that_tells_two_hosts() -> None:
    with pytest.raises(UnwritableHead, match="more than one host"):
        request((b"host", b"b.test"))


def test_other_fields_may_stand_twice() -> None:
    assert response((b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")).count(b"Cookie") == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"X", b"a\r\nY: b"),
        (b"X", b"a\nY: b"),
        (b"X", b"a\rb"),
        (b"X", b"a\x00b"),
        (b"X", b"\x7f"),
        (b"X", b"a\r\n\r\nGET / HTTP/1.1"),
        (b"X: y\r\nZ", b"a"),
        (b"X y", b"a"),
        (b"X:", b"a"),
        (b"", b"a"),
        (b"\xe9", b"a"),
        (b"Connection", b"x"),
        (b"transfer-encoding", b"chunked"),
    ],
)
def test_what_a_filter_may_not_put_in_a_head_is_refused(
    name: bytes, value: bytes
) -> None:
    with pytest.raises(UnwritableHead):
        request((name, value))
    with pytest.raises(UnwritableHead):
        response((name, value))
    with pytest.raises(UnwritableHead):
        write_last_chunk(Headers([(name, value)]))


def test_what_came_from_the_wire_and_was_edited_is_checked() -> None:
    reader = Reader(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n")
    head = read_request(reader, Http())
    assert head is not None
    write_request(head.method, head.target, head.headers, 0)
    head.headers.set(b"x", b"y\r\nZ: z")

    with pytest.raises(UnwritableHead):
        write_request(head.method, head.target, head.headers, 0)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"", b"/"),
        (b"G T", b"/"),
        (b"GET", b""),
        (b"GET", b"/a b"),
        (b"GET", b"/\r\nX: y"),
        (b"GET", b"/\xe9"),
        (b"GET", b"/\x00"),
        (b"GET", b"/ HTTP/1.1\r\nHost: b\r\n\r\nGET /admin"),
        (b"GET / HTTP/1.1\r\n\r\nGET", b"/"),
    ],
)
def test_a_filter_cannot_write_a_second_request_into_the_first(
    method: bytes, target: bytes
) -> None:
    with pytest.raises(UnwritableHead, match="not a request line"):
        write_request(method, target, Headers([HOST]), 0)


def test_an_upgrade_is_announced() -> None:
    assert request((b"Upgrade", b"websocket")).endswith(
        b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    )


def test_a_response_says_whether_its_connection_closes() -> None:
    written = write_response(404, Headers(), 0, connection=CLOSE)

    assert written == (
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (418, b"HTTP/1.1 418 I'm a Teapot"),
        (299, b"HTTP/1.1 299 Status"),
        (999, b"HTTP/1.1 999 Status"),
    ],
)
def test_a_status_has_its_phrase_or_another(status: int, line: bytes) -> None:
    written = write_response(status, Headers(), 0)

    assert written.partition(b"\r\n")[0].lower() == line.lower()


@pytest.mark.parametrize("status", [-1, 0, 42, 1000])
def test_what_is_no_status_is_refused(status: int) -> None:
    with pytest.raises(UnwritableHead, match="status"):
        write_response(status, Headers(), 0)


@pytest.mark.parametrize("status", [100, 103, 199])
def test_an_informational_status_ends_with_its_head_or_is_refused(status: int) -> None:
    written = write_response(status, Headers(), 0, is_bodiless=True)

    assert b"Content-Length" not in written
    with pytest.raises(UnwritableHead, match="status"):
        write_response(status, Headers(), 0)


@pytest.mark.parametrize(
    ("status", "length", "is_kept"),
    [
        (200, 0, True),  # to HEAD: what GET would have had
        (304, 0, True),
        (200, None, False),  # to HTTP/1.0: the close ends it
        (204, 0, False),
        (103, 0, False),
    ],
)
def test_a_length_is_told_without_a_body_only_where_it_is_not_taken_for_framing(
    status: int, length: int | None, is_kept: bool
) -> None:
    headers = Headers([(b"Content-Length", b"5")])

    written = write_response(status, headers, length, is_bodiless=True)

    assert (b"Content-Length" in written) == is_kept
    assert b"Transfer-Encoding" not in written


def test_chunks_and_trailers() -> None:
    assert write_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert write_last_chunk(Headers()) == b"0\r\n\r\n"
    assert write_last_chunk(Headers([(b"A", b"1")])) == b"0\r\nA: 1\r\n\r\n"
    assert CONTINUE == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("name", [b"Content-Length", b"host", b"Set-Cookie", b"TE"])
def test_a_filters_trailer_changes_nothing_that_the_head_said(name: bytes) -> None:
    with pytest.raises(UnwritableHead, match="trailer"):
        write_last_chunk(Headers([(name, b"5")]))


def test_heads_that_share_their_fields_are_written_once() -> None:
    shared = Written(b"Host: a.test\r\nX: 1\r\n")

    def alike() -> Headers:
        index = {b"host": b"a.test", b"x": b"1"}
        return Headers.parsed((HOST, (b"X", b"1")), index, shared)

    def asked(headers: Headers, target: bytes = b"/", length: int | None = 0) -> bytes:
        return write_request(b"GET", target, headers, length)

    def told(headers: Headers, status: int = 200, connection: bytes = b"") -> bytes:
        return write_response(status, headers, 0, connection=connection)

    assert asked(alike()) == b"GET / HTTP/1.1\r\nHost: a.test\r\nX: 1\r\n\r\n"
    assert asked(alike()) is asked(alike())
    assert asked(alike(), b"/b").startswith(b"GET /b HTTP/1.1\r\n")
    assert b"\r\nContent-Length: 3\r\n" in asked(alike(), length=3)
    assert told(alike()) is told(alike())
    assert told(alike(), connection=CLOSE).endswith(CLOSE + b"\r\n")
    assert told(alike(), 201).startswith(b"HTTP/1.1 201 ")
    edits: list[Callable[[Headers], None]] = [
        lambda headers: headers.set(b"X", b"2"),
        lambda headers: headers.remove(b"X"),
    ]
    for edit in edits:
        edited = alike()
        edit(edited)
        assert b"X: 1" not in asked(edited)
        assert b"X: 1" not in told(edited)
    assert b"X: 1" in asked(alike())
