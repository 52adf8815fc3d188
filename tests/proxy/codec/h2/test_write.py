"""Heads are written as HTTP/2 wants them, and nothing that a filter broke is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshfilters.message import Headers, Written
from proxy.codec.h1.write import UnwritableHead
from proxy.codec.h2.codec import Fields
from proxy.codec.h2.write import write_request, write_response, write_trailers
from tests.proxy.codec.h2.ends import OK


def request(headers: Headers, **more: object) -> Fields:
    given: dict[str, object] = {"scheme": b"http", "authority": b"app"}
    given |= {"length": None} | more
    return write_request(b"POST", b"/", headers, **given)  # type: ignore[arg-type]  # as given


def test_a_request_is_written_in_lower_case_without_what_is_http1s() -> None:
    headers = Headers.parsed(
        [(b"Host", b"web"), (b"X-Some", b"Thing"), (b"Upgrade", b"x")],
        {b"host": b"web", b"x-some": b"Thing", b"upgrade": b"x"},
    )

    assert request(headers, length=3, authority=b"web") == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"web"),
        (b":path", b"/"),
        (b"x-some", b"Thing"),
        (b"content-length", b"3"),
    ]
    assert request(Headers())[2] == (b":authority", b"app")


@pytest.mark.parametrize(
    "field",
    [
        (b"x", b"a\r\nb: c"),
        (b"x y", b"1"),
        (b"", b"1"),
        (b"x", b" a"),
        (b":path", b"/"),
    ],
)
def test_what_a_filter_broke_is_not_written(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(UnwritableHead):
        request(Headers([field]))
    with pytest.raises(UnwritableHead):
        write_response(200, Headers([field]), 0)


@pytest.mark.parametrize(
    ("method", "target"), [(b"G T", b"/"), (b"GET", b"x"), (b"GET", b"/ x")]
)
def test_a_bad_line_is_not_written(method: bytes, target: bytes) -> None:
    with pytest.raises(UnwritableHead):
        write_request(
            method, target, Headers(), scheme=b"http", authority=b"a", length=0
        )


def test_a_response_says_its_length() -> None:
    assert write_response(200, Headers(), 0) == [*OK, (b"content-length", b"0")]
    assert write_response(200, Headers([(b"content-length", b"9")]), 2)[1:] == [
        (b"content-length", b"2")
    ]
    assert write_response(200, Headers(), None) == OK
    told = Headers([(b"content-length", b"9")])
    assert write_response(200, told, None, is_bodiless=True)[1:] == told.raw
    with pytest.raises(UnwritableHead):
        write_response(1000, Headers(), 0)


def test_trailers_are_written_if_they_may_be() -> None:
    assert write_trailers(Headers([(b"X-Sum", b"1")])) == [(b"x-sum", b"1")]
    with pytest.raises(UnwritableHead):
        write_trailers(Headers([(b"Content-Length", b"1")]))


def test_heads_that_share_their_fields_are_written_once() -> None:
    shared = Written()

    def alike() -> Headers:
        fields, index = ((b"x", b"1"), (b"host", b"app")), {b"x": b"1", b"host": b"app"}
        return Headers.parsed(fields, index, shared)

    assert request(alike()) == request(alike())
    assert request(alike()) is request(alike())
    assert dict(request(alike(), scheme=b"https"))[b":scheme"] == b"https"
    assert dict(request(alike(), length=3))[b"content-length"] == b"3"
    assert write_response(200, alike(), 0) is write_response(200, alike(), 0)
    assert write_response(201, alike(), 0)[0] == (b":status", b"201")
    edits: list[Callable[[Headers], None]] = [
        lambda headers: headers.set(b"x", b"2"),
        lambda headers: headers.remove(b"x"),
    ]
    for edit in edits:
        edited = alike()
        edit(edited)
        assert (b"x", b"1") not in request(edited)
    assert (b"x", b"1") in request(alike())
