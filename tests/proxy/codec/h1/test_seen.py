"""A head that repeats is read like the first one, whatever was done to that meanwhile."""

from __future__ import annotations

import pytest

from proxy.codec.h1 import (
    Reader,
    RequestHead,
    ResponseHead,
    WireError,
    read_request,
    read_response,
    write_request,
    write_response,
)
from proxy.codec.h1.seen import LARGEST
from proxy.config.model import Http

LIMITS = Http()
GET = b"GET /a HTTP/1.1\r\nHost: App:80\r\nX-A: 1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n"


def request(reader: Reader, data: bytes = GET) -> RequestHead:
    reader.feed(data)
    head = read_request(reader, LIMITS)
    assert head is not None
    assert not reader.data
    return head


def response(reader: Reader, data: bytes = OK, method: bytes = b"GET") -> ResponseHead:
    reader.feed(data)
    head = read_response(reader, LIMITS, method)
    assert head is not None
    if head.decoder is not None:
        reader.feed(b"ok")
        assert head.decoder.decode(reader) == b"ok"
    return head


def facts(head: RequestHead) -> tuple[object, ...]:
    wire = write_request(head.method, head.target, head.headers, 0)
    return head.headers, head.headers.index, head.host, head.keeps_alive, wire


def test_a_request_that_repeats_is_read_alike() -> None:
    reader = Reader()

    heads = [request(reader) for _ in range(4)]

    assert reader.seen is not None
    assert [facts(each) for each in heads] == [facts(heads[0])] * 4
    assert heads[3].host == b"app"


def test_another_path_with_the_same_fields_is_a_repeat() -> None:
    reader = Reader()
    for _ in range(3):
        request(reader)

    head = request(reader, GET.replace(b"GET /a", b"DELETE /b?c"))

    assert (head.method, head.target) == (b"DELETE", b"/b?c")
    assert head.headers.get(b"x-a") == b"1"


def test_what_is_done_to_one_is_not_done_to_the_next() -> None:
    reader = Reader()
    for _ in range(3):
        head = request(reader)
        head.headers.set(b"X-A", b"2")
        head.headers.remove(b"host")
    assert facts(request(reader)) == facts(request(Reader()))


def test_what_many_heads_share_none_can_change() -> None:
    reader = Reader()
    head, _, third = (request(reader) for _ in range(3))
    head.headers.raw.clear()  # type: ignore[attr-defined]  # one that was read anew
    head.headers.index.clear()  # type: ignore[attr-defined]

    with pytest.raises(AttributeError):
        third.headers.raw.clear()  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        third.headers.index[b"x"] = b"y"  # type: ignore[index]
    assert facts(request(reader)) == facts(request(Reader()))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (GET.replace(b"/a", b"/a#b"), 400),
        (GET.replace(b"/a", b"/a%zz"), 400),
        (GET.replace(b"/a", b"a"), 400),
        (GET.replace(b"GET /a", b"CONNECT /"), 400),
        (GET.replace(b"/a", b"/" + b"a" * 20_000), 414),
        (GET.replace(b"GET", b"PRI"), 400),
        (GET.replace(b"1.1", b"2.0"), 505),
    ],
)
def test_the_line_is_checked_however_often_the_fields_came(
    data: bytes, status: int
) -> None:
    reader = Reader()
    for _ in range(3):
        request(reader)
    reader.feed(data)

    with pytest.raises(WireError) as raised:
        read_request(reader, LIMITS)

    assert raised.value.status == status


def test_an_absolute_target_must_agree_with_the_host_that_came_before() -> None:
    reader = Reader()
    for _ in range(3):
        request(reader)
    reader.feed(GET.replace(b"/a", b"http://other/a"))

    with pytest.raises(WireError, match="differs"):
        read_request(reader, LIMITS)


def test_http10_does_not_stay_open_for_having_been_seen() -> None:
    reader = Reader()
    for _ in range(3):
        request(reader)

    assert not request(reader, GET.replace(b"1.1", b"1.0")).keeps_alive


def test_fields_that_frame_or_steer_are_never_taken_from_memory() -> None:
    reader = Reader()
    for _ in range(4):
        head = request(reader, GET.replace(b"X-A: 1", b"Connection: close"))
        assert not head.keeps_alive

    assert reader.seen is None


def test_other_limits_are_held_against_it() -> None:
    reader = Reader()
    for _ in range(3):
        request(reader)
    reader.feed(GET)

    with pytest.raises(WireError, match="too many"):
        read_request(reader, Http(max_headers=1))


def test_a_long_head_is_not_kept() -> None:
    reader = Reader()
    for _ in range(3):
        request(reader, GET.replace(b"X-A: 1", b"X-A: " + b"a" * LARGEST))

    assert reader.seen is None
    assert reader.last == b""


def test_a_response_that_repeats_is_read_alike() -> None:
    reader = Reader()

    heads = [response(reader) for _ in range(4)]

    assert reader.seen is not None
    written = {write_response(each.status, each.headers, 2) for each in heads}
    assert written == {
        b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\n",
    }
    assert all(each.keeps_alive for each in heads)


def test_the_same_head_to_another_method_means_something_else() -> None:
    reader = Reader()
    for _ in range(3):
        response(reader)

    assert response(reader, method=b"HEAD").decoder is None
    assert response(reader).decoder is not None


def test_a_response_without_a_body_repeats_too() -> None:
    reader = Reader()
    data = b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nConnection: close\r\n\r\n"

    heads = [response(reader, data) for _ in range(3)]

    assert [(each.status, each.decoder, each.keeps_alive) for each in heads] == [
        (304, None, False)
    ] * 3


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    ],
)
def test_framing_without_a_length_is_read_anew(data: bytes) -> None:
    reader = Reader()
    for _ in range(3):
        reader.feed(data)
        assert read_response(reader, LIMITS, b"GET") is not None

    assert reader.seen is None
