"""What is a request, and what an application will see of it."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfilters.message import Headers
from proxy.codec.h1.framing import Chunked, Sized
from proxy.codec.h1.reader import Reader
from proxy.codec.h1.request import LINE_EXTRA, RequestHead, read_request
from proxy.codec.h1.wire import WireError
from proxy.codec.h1.write import write_request
from proxy.config.model import Http
from tests.proxy.codec.h1.arriving import BOTH_WAYS, Pieces, request, whole


def read(data: bytes, pieces: Pieces = whole) -> RequestHead:
    head = request(pieces, data)
    assert head is not None
    return head


def head(line: bytes, *fields: bytes, host: bytes = b"Host: a.test") -> bytes:
    lines = [line, *([host] if host else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def get(*fields: bytes) -> bytes:
    return head(b"GET /x?y HTTP/1.1", *fields)


def post(*fields: bytes) -> bytes:
    return head(b"POST / HTTP/1.1", *fields)


@BOTH_WAYS
def test_a_request_is_taken_apart(pieces: Pieces) -> None:
    found = read(get(b"Accept: */*"), pieces)

    assert (found.method, found.target, found.host) == (b"GET", b"/x?y", b"a.test")
    assert found.headers.raw == [(b"Host", b"a.test"), (b"Accept", b"*/*")]
    assert not found.headers.is_edited
    assert found.keeps_alive
    assert not found.is_http10
    assert found.decoder is None


@BOTH_WAYS
def test_one_empty_line_before_a_request_is_tolerated(pieces: Pieces) -> None:
    assert read(b"\r\n" + get(), pieces).method == b"GET"
    with pytest.raises(WireError):
        request(pieces, b"\r\n\r\n" + get())


def test_a_second_request_stays_where_it_is() -> None:
    reader = Reader(get() + head(b"GET /2 HTTP/1.1"))

    first, second = (read_request(reader, Http()) for _ in range(2))

    assert first is not None
    assert second is not None
    assert (first.target, second.target) == (b"/x?y", b"/2")
    assert not reader
    assert read_request(reader, Http()) is None


@BOTH_WAYS
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/3.7\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/11.1\r\nHost: a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"G\x00T / HTTP/1.1\r\n\r\n", 400),
        (b" GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"M" * 65 + b" / HTTP/1.1\r\n\r\n", 400),
        (head(b"GET / HTTP/1.1", host=b""), 400),
        (head(b"GET / HTTP/1.1", host=b"Host: a b"), 400),
        (head(b"GET / HTTP/1.1", host=b"Host:"), 400),
        (get(b"Host: a.test"), 400),
        (get(b"X : y"), 400),
        (get(b"X: y\r\n z"), 400),
        (head(b"GET /#f HTTP/1.1"), 400),
        (head(b"GET /%00 HTTP/1.1"), 400),
        (head(b"GET /%2 HTTP/1.1"), 400),
        (head(b"GET /%zz HTTP/1.1"), 400),
        (head(b"GET x HTTP/1.1"), 400),
        (head(b"GET * HTTP/1.1"), 400),
        (head(b"GET ftp://a.test/ HTTP/1.1"), 400),
        (head(b"GET http://u@a.test/ HTTP/1.1"), 400),
        (head(b"GET http:///x HTTP/1.1"), 400),
        (head(b"GET http://b.test/ HTTP/1.1"), 400),
        (head(b"CONNECT / HTTP/1.1"), 400),
        (head(b"CONNECT a.test HTTP/1.1"), 400),
        (head(b"CONNECT b.test:1 HTTP/1.1"), 400),
        (head(b"CONNECT /%41 HTTP/1.1"), 400),
        (post(b"Content-Length: x"), 400),
        (post(b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
        (post(b"Content-Length: 0", b"Transfer-Encoding: chunked"), 400),
        (post(b"Transfer-Encoding: gzip, chunked"), 501),
        (head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"), 400),
        (head(b"GET / HTTP/1.0", b"Content-Length: 1"), 400),
        (head(b"HEAD / HTTP/1.0", b"Content-Length: 1"), 400),
        (post(b"Expect: the-best"), 417),
    ],
)
def test_what_is_no_request_is_refused(
    pieces: Pieces, data: bytes, status: int
) -> None:
    with pytest.raises(WireError) as caught:
        request(pieces, data)
    assert caught.value.status == status


def test_an_error_knows_the_method_once_the_line_has_been_read() -> None:
    with pytest.raises(WireError) as caught:
        read(head(b"HEAD / HTTP/1.1", b"X : y"))
    assert caught.value.method == b"HEAD"


# Limits


@BOTH_WAYS
def test_a_head_may_be_as_long_as_its_limit(pieces: Pieces) -> None:
    data = get(b"X: " + b"x" * 300)

    assert request(pieces, data, Http(max_head=len(data))) is not None
    with pytest.raises(WireError) as caught:
        request(pieces, data, Http(max_head=len(data) - 1))
    assert caught.value.status == 431


@BOTH_WAYS
def test_a_target_may_be_as_long_as_its_limit(pieces: Pieces) -> None:
    data = head(b"GET /" + b"x" * 99 + b" HTTP/1.1")

    assert request(pieces, data, Http(max_target=100)) is not None
    with pytest.raises(WireError) as caught:
        request(pieces, data, Http(max_target=99))
    assert caught.value.status == 414


@BOTH_WAYS
def test_a_line_without_end_is_refused_before_the_head_is_full(pieces: Pieces) -> None:
    endless = b"GET /" + b"x" * (64 + LINE_EXTRA)

    with pytest.raises(WireError) as caught:
        request(pieces, endless, Http(max_target=64))
    assert caught.value.status == 414


def test_a_head_that_comes_byte_by_byte_is_looked_at_once() -> None:
    reader = Reader()
    looked = []
    for byte in get(b"X: " + b"x" * 1000)[:-1]:
        reader.feed(bytes([byte]))
        looked.append(len(reader) - reader.checked)
        assert read_request(reader, Http()) is None

    assert max(looked) <= 2


# The target and the host


@BOTH_WAYS
@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b"GET /a%20b?c#", None),
        (b"GET /a%20b?c", b"/a%20b?c"),
        (b"OPTIONS *", b"*"),
        (b"GET http://a.test", b"/"),
        (b"GET HTTP://A.TEST/x?y", b"/x?y"),
        (b"GET https://a.test?y", b"/?y"),
        (b"GET //b.test/x", b"//b.test/x"),
    ],
)
def test_the_application_sees_a_path(
    pieces: Pieces, line: bytes, target: bytes | None
) -> None:
    data = head(line + b" HTTP/1.1")
    if target is None:
        with pytest.raises(WireError):
            request(pieces, data)
    else:
        assert read(data, pieces).target == target


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"A.Test:8080", b"a.test"),
        (b"a.test", b"a.test"),
        (b"[::1]:80", b"[::1]"),
        (b"[::1]", b"[::1]"),
    ],
)
def test_a_host_is_known_without_its_port_and_in_lower_case(
    host: bytes, name: bytes
) -> None:
    found = read(head(b"GET / HTTP/1.1", host=b"Host: " + host))

    assert found.host == name
    assert found.headers.get(b"host") == host


def test_connects_target_is_its_authority() -> None:
    found = read(head(b"CONNECT a.test:443 HTTP/1.1", host=b"Host: A.test:443"))

    assert (found.target, found.host) == (b"a.test:443", b"a.test")


@BOTH_WAYS
@pytest.mark.parametrize("field", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_connect_has_no_body_that_one_side_could_take_for_the_tunnels(
    pieces: Pieces, field: bytes
) -> None:
    line = b"CONNECT a.test:443 HTTP/1.1"
    with pytest.raises(WireError, match="CONNECT"):
        request(pieces, head(line, field, host=b"Host: a.test:443"))
    read(head(line, b"Content-Length: 0", host=b"Host: a.test:443"), pieces)


def test_an_old_client_needs_no_host() -> None:
    found = read(head(b"GET / HTTP/1.0", host=b""))

    assert found.host == b""
    assert found.is_http10
    assert not found.keeps_alive


@BOTH_WAYS
@pytest.mark.parametrize(
    "field", [b"Connection: close", b"Upgrade: x", b"TE: trailers", b"Keep-Alive: 5"]
)
def test_a_host_from_the_target_does_not_shift_what_is_dropped(
    pieces: Pieces, field: bytes
) -> None:
    line = b"GET http://A.test/ HTTP/1.0"
    found = read(head(line, b"Foo: bar", field, b"X: y", host=b""), pieces)

    assert found.host == b"a.test"
    assert found.headers.raw == [(b"Host", b"A.test"), (b"Foo", b"bar"), (b"X", b"y")]


# Framing, persistence, upgrade


@BOTH_WAYS
def test_a_body_has_the_length_that_is_told(pieces: Pieces) -> None:
    decoder = read(post(b"Content-Length: 7"), pieces).decoder

    assert isinstance(decoder, Sized)
    assert decoder.length == 7


@BOTH_WAYS
def test_a_body_in_chunks_has_no_length_and_its_framing_stays_here(
    pieces: Pieces,
) -> None:
    found = read(post(b"Transfer-Encoding: CHUNKED", b"Trailer: X"), pieces)

    assert isinstance(found.decoder, Chunked)
    assert found.headers.raw == [(b"Host", b"a.test"), (b"Trailer", b"X")]


def test_a_length_of_nothing_is_no_body() -> None:
    found = read(post(b"Content-Length: 0"))

    assert found.decoder is None
    assert found.headers.get(b"content-length") == b"0"


def test_an_old_client_may_post() -> None:
    found = read(head(b"POST / HTTP/1.0", b"Content-Length: 1"))

    assert isinstance(found.decoder, Sized)


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"1.1", b"close", False),
        (b"1.1", b"x, Close", False),
        (b"1.1", b"keep-alive", True),
        (b"1.1", b"closed", True),
        (b"1.0", b"keep-alive", True),
        (b"1.0", b"Keep-Alive, close", False),
        (b"1.0", b"x", False),
    ],
)
def test_a_connection_is_kept_as_both_versions_have_it(
    version: bytes, connection: bytes, keeps: bool
) -> None:
    found = read(head(b"GET / HTTP/" + version, b"Connection: " + connection))

    assert found.keeps_alive == keeps
    assert b"connection" not in found.headers


@pytest.mark.parametrize(
    ("data", "is_kept"),
    [
        (get(b"Connection: Upgrade", b"Upgrade: websocket"), True),
        (get(b"Upgrade: websocket"), False),
        (head(b"GET / HTTP/1.0", b"Connection: upgrade", b"Upgrade: websocket"), False),
        (
            post(b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 1"),
            False,
        ),
        (
            get(
                b"Connection: Upgrade, HTTP2-Settings",
                b"Upgrade: h2c",
                b"HTTP2-Settings: A",
            ),
            False,
        ),
    ],
)
def test_an_upgrade_is_offered_on_only_where_it_can_be(
    data: bytes, is_kept: bool
) -> None:
    found = read(data)

    assert (b"upgrade" in found.headers) == is_kept
    assert b"http2-settings" not in found.headers


@pytest.mark.parametrize(
    ("data", "expects", "is_kept"),
    [
        (post(b"Content-Length: 1", b"Expect: 100-Continue"), True, True),
        (post(b"Transfer-Encoding: chunked", b"Expect: 100-continue"), True, True),
        (post(b"Expect: 100-continue"), False, False),
        (
            head(b"POST / HTTP/1.0", b"Content-Length: 1", b"Expect: 100-continue"),
            False,
            False,
        ),
        (head(b"POST / HTTP/1.0", b"Content-Length: 1", b"Expect: x"), False, False),
    ],
)
def test_a_client_that_waits_to_send_its_body_is_known(
    data: bytes, expects: bool, is_kept: bool
) -> None:
    found = read(data)

    assert found.expects_continue == expects
    assert (b"expect" in found.headers) == is_kept


# Against others

NAMES = st.from_regex(rb"x-[a-z0-9]{1,8}", fullmatch=True)
VALUES = st.from_regex(rb"[!-~\x80-\xff](?:[ -~]*[!-~])?|", fullmatch=True)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
METHODS = st.sampled_from([b"GET", b"POST", b"PATCH", b"X-Y"])
TARGETS = st.from_regex(rb"/[a-zA-Z0-9._~!$&'()*+,;=:@/?-]{0,20}", fullmatch=True)


@given(METHODS, TARGETS, FIELDS, st.sampled_from([0, 5, None]))
def test_what_is_written_is_read(
    method: bytes, target: bytes, fields: list[tuple[bytes, bytes]], length: int | None
) -> None:
    headers = Headers([(b"Host", b"a.test"), *fields])

    found = read(write_request(method, target, headers, length))

    assert (found.method, found.target) == (method, target)
    assert found.headers.raw[: len(fields) + 1] == headers.raw
    if length == 0:
        assert found.decoder is None
    else:
        assert found.decoder is not None
        assert found.decoder.length == length


class Theirs:
    """What llhttp makes of the same bytes."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.target = b""
        self.is_complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.is_complete = True


@given(TARGETS, FIELDS)
def test_llhttp_takes_the_same_parts_out_of_it(
    target: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    data = write_request(b"GET", target, Headers([(b"Host", b"a"), *fields]), 0)
    theirs = Theirs()
    parser = httptools.HttpRequestParser(theirs)
    parser.feed_data(data)

    found = read(data)

    assert theirs.is_complete
    assert (parser.get_method(), theirs.target) == (found.method, found.target)
    assert theirs.fields == found.headers.raw


@given(st.binary(max_size=40), st.integers(min_value=0, max_value=60))
def test_what_we_let_through_llhttp_lets_through(junk: bytes, place: int) -> None:
    data = get(b"X: y", b"Accept: z")
    place = min(place, len(data))
    data = data[:place] + junk + data[place:]
    try:
        found = request(whole, data)
    except WireError:
        return
    if found is not None and found.method in (b"GET", b"POST", b"PUT"):
        theirs = Theirs()
        httptools.HttpRequestParser(theirs).feed_data(
            data[: data.index(b"\r\n\r\n") + 4]
        )
        assert theirs.is_complete
