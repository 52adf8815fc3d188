"""What is a response, where it ends, and whether its connection goes on."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfilters.message import Headers
from proxy.codec.h1.framing import Chunked, Sized, UntilClose
from proxy.codec.h1.reader import Reader
from proxy.codec.h1.response import ResponseHead, read_response
from proxy.codec.h1.wire import WireError
from proxy.codec.h1.write import write_response
from proxy.config.model import Http
from tests.proxy.codec.h1.arriving import BOTH_WAYS, Pieces, response, whole


def head(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n"


def read(data: bytes, method: bytes = b"GET", pieces: Pieces = whole) -> ResponseHead:
    found = response(pieces, data, method)
    assert found is not None
    return found


@BOTH_WAYS
def test_a_response_is_taken_apart(pieces: Pieces) -> None:
    found = read(head(b"Content-Length: 3", b"Server: x"), pieces=pieces)

    assert found.status == 200
    assert found.headers.raw == [(b"Content-Length", b"3"), (b"Server", b"x")]
    assert isinstance(found.decoder, Sized)
    assert found.keeps_alive


def test_what_follows_stays_where_it_is() -> None:
    reader = Reader(head(b"Content-Length: 3") + b"abc")

    read_response(reader, Http(), b"GET")

    assert reader.take(9) == b"abc"


@BOTH_WAYS
@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"<html>\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        head(b"A : b"),
        head(b"A: b\r\n c"),
        head(b"Content-Length: 1", b"Content-Length: 1"),
        head(b"Content-Length: -1"),
        head(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        head(b"Transfer-Encoding: gzip"),
        head(b"Transfer-Encoding: chunked, gzip"),
        head(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK"),
        head(b"Content-Length: 1", b"Transfer-Encoding: x", line=b"HTTP/1.1 204 No"),
    ],
)
def test_what_is_no_response_is_refused(pieces: Pieces, data: bytes) -> None:
    with pytest.raises(WireError):
        response(pieces, data)


@BOTH_WAYS
def test_a_head_may_be_as_long_as_its_limit(pieces: Pieces) -> None:
    data = head(b"X: " + b"x" * 300)

    assert response(pieces, data, limits=Http(max_head=len(data))) is not None
    with pytest.raises(WireError, match="too large"):
        response(pieces, data, limits=Http(max_head=len(data) - 1))


def test_a_head_that_comes_byte_by_byte_is_looked_at_once() -> None:
    reader = Reader()
    looked = []
    for byte in head(b"X: " + b"x" * 1000)[:-1]:
        reader.feed(bytes([byte]))
        looked.append(len(reader) - reader.checked)
        assert read_response(reader, Http(), b"GET") is None

    assert max(looked) <= 2


@BOTH_WAYS
@pytest.mark.parametrize(
    ("data", "method"),
    [
        (head(b"Content-Length: 5"), b"HEAD"),
        (head(b"Transfer-Encoding: chunked"), b"HEAD"),
        (head(), b"HEAD"),
        (head(b"Content-Length: 5", line=b"HTTP/1.1 304 Not Modified"), b"GET"),
        (head(b"Content-Length: 0"), b"GET"),
        (head(b"Content-Length: 5", line=b"HTTP/1.1 204 No Content"), b"GET"),
        (head(b"Content-Length: 5", line=b"HTTP/1.1 103 Early Hints"), b"GET"),
        (head(b"Content-Length: 5"), b"CONNECT"),
    ],
)
def test_what_ends_with_its_head_keeps_its_connection(
    pieces: Pieces, data: bytes, method: bytes
) -> None:
    found = read(data, method, pieces)

    assert found.decoder is None
    assert found.keeps_alive


@pytest.mark.parametrize(
    ("line", "method", "is_kept"),
    [
        (b"HTTP/1.1 200 OK", b"HEAD", True),
        (b"HTTP/1.1 304 Not Modified", b"GET", True),
        (b"HTTP/1.1 204 No Content", b"GET", False),
        (b"HTTP/1.1 103 Early Hints", b"GET", False),
        (b"HTTP/1.1 200 OK", b"CONNECT", False),
        (b"HTTP/1.1 407 No", b"CONNECT", True),
    ],
)
def test_a_length_is_told_on_only_where_it_means_something(
    line: bytes, method: bytes, is_kept: bool
) -> None:
    found = read(head(b"Content-Length: 5", line=line), method)

    assert (b"content-length" in found.headers) == is_kept


@BOTH_WAYS
@pytest.mark.parametrize(
    ("data", "kind", "keeps"),
    [
        (head(b"Transfer-Encoding: Chunked"), Chunked, True),
        (head(b"Content-Length: 1"), Sized, True),
        (head(), UntilClose, False),
        (head(b"Connection: keep-alive"), UntilClose, False),
        (head(b"Content-Length: 1", b"Connection: close"), Sized, False),
        (head(b"Content-Length: 1", line=b"HTTP/1.0 200 OK"), Sized, False),
        (
            head(
                b"Content-Length: 1",
                b"Connection: keep-alive",
                line=b"HTTP/1.0 200 OK",
            ),
            Sized,
            True,
        ),
        (
            head(b"Connection: keep-alive", line=b"HTTP/1.0 200 OK"),
            UntilClose,
            False,
        ),
    ],
)
def test_a_body_ends_by_its_framing_or_with_its_connection(
    pieces: Pieces, data: bytes, kind: type[object], keeps: bool
) -> None:
    found = read(data, pieces=pieces)

    assert type(found.decoder) is kind
    assert found.keeps_alive == keeps
    assert b"connection" not in found.headers
    assert b"transfer-encoding" not in found.headers


def test_an_upgrade_is_kept_of_a_101_alone() -> None:
    fields = (b"Connection: upgrade", b"Upgrade: websocket", b"X: y")

    switched = read(head(*fields, line=b"HTTP/1.1 101 Switching Protocols"))
    refused = read(head(*fields, b"Content-Length: 0", line=b"HTTP/1.1 426 No"))

    assert switched.headers.raw == [(b"Upgrade", b"websocket"), (b"X", b"y")]
    assert b"upgrade" not in refused.headers


STATUSES = st.sampled_from([200, 201, 299, 404, 418, 500, 599, 999])
NAMES = st.from_regex(rb"x-[a-z0-9]{1,8}", fullmatch=True)
VALUES = st.from_regex(rb"[!-~\x80-\xff](?:[ -~]*[!-~])?|", fullmatch=True)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6)


@given(STATUSES, FIELDS, st.sampled_from([0, 5, None]))
def test_what_is_written_is_read(
    status: int, fields: list[tuple[bytes, bytes]], length: int | None
) -> None:
    found = read(write_response(status, Headers(fields), length))

    assert found.status == status
    assert found.headers.raw[: len(fields)] == fields
    assert found.keeps_alive
    if length == 0:
        assert found.decoder is None
    else:
        assert found.decoder is not None
        assert found.decoder.length == length


@given(STATUSES, FIELDS, st.sampled_from([0, 5, None]))
def test_h11_reads_the_same_in_it(
    status: int, fields: list[tuple[bytes, bytes]], length: int | None
) -> None:
    theirs = h11.Connection(h11.CLIENT)
    theirs.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    theirs.send(h11.EndOfMessage())
    data = write_response(status, Headers(fields), length)
    theirs.receive_data(data)

    event = theirs.next_event()

    assert isinstance(event, h11.Response)
    assert event.status_code == status
    assert [(n.lower(), v) for n, v in fields] == list(event.headers)[: len(fields)]
