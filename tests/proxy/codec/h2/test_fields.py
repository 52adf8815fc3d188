"""Heads are read strictly; tests/wire has the corpus of those that are refused."""

from __future__ import annotations

import pytest

from proxy.codec.h2.fields import (
    HeadError,
    read_request,
    read_response,
    read_trailers,
)
from proxy.config.model import Http
from tests.proxy.codec.h2.ends import GET, OK
from tests.wire.test_downgrade import CASES

LIMITS = Http()


@pytest.mark.parametrize("name", CASES)
def test_a_head_that_would_mean_something_else_is_refused(name: str) -> None:
    with pytest.raises(HeadError):
        read_request(CASES[name], True, LIMITS)


def test_a_request_has_its_host_first() -> None:
    fields = [*GET[:2], (b":authority", b"App.Test:81"), GET[3], (b"x-some", b"Thing")]
    head = read_request(fields, True, LIMITS)

    assert (head.method, head.target, head.host) == (b"GET", b"/", b"app.test")
    assert head.headers.raw == [(b"host", b"App.Test:81"), (b"x-some", b"Thing")]
    assert head.headers.index[b"x-some"] == b"Thing"
    assert head.length == 0
    assert not head.headers.is_edited


def test_cookies_are_joined_and_an_equal_host_is_dropped() -> None:
    more = [(b"cookie", b"a=1"), (b"host", b"APP"), (b"cookie", b"b=2")]
    head = read_request([*GET, *more], True, LIMITS)

    assert head.headers.raw == [(b"host", b"app"), (b"cookie", b"a=1; b=2")]


@pytest.mark.parametrize(
    ("more", "limits", "status"),
    [
        ([(b"x", b"y")] * 101, Http(), 431),
        ([(b"x", b"y" * 300)], Http(max_head=256), 431),
        ([(b"expect", b"tea")], Http(), 417),
    ],
)
def test_too_much_is_answered(
    more: list[tuple[bytes, bytes]], limits: Http, status: int
) -> None:
    with pytest.raises(HeadError) as caught:
        read_request([*GET, *more], False, limits)

    assert caught.value.status == status


def test_a_target_that_is_too_long_is_414() -> None:
    with pytest.raises(HeadError) as caught:
        read_request(
            [*GET[:3], (b":path", b"/" + b"x" * 64)], True, Http(max_target=64)
        )

    assert caught.value.status == 414


@pytest.mark.parametrize(
    ("fields", "is_end", "length"),
    [(GET, True, 0), (GET, False, None), ([*GET, (b"content-length", b"5")], False, 5)],
)
def test_the_length_is_known_or_not(
    fields: list[tuple[bytes, bytes]], is_end: bool, length: int | None
) -> None:
    assert read_request(fields, is_end, LIMITS).length == length


def test_connect_and_extended_connect() -> None:
    plain = [(b":method", b"CONNECT"), (b":authority", b"db:5432")]
    extended = [(b":method", b"CONNECT"), *GET[1:], (b":protocol", b"websocket")]

    star = [
        (b":method", b"OPTIONS"),
        *(field for field in GET[1:] if field[0] != b":path"),
        (b":path", b"*"),
        (b":protocol", b"websocket"),
    ]

    assert read_request(plain, False, LIMITS).target == b"db:5432"
    assert read_request(extended, False, LIMITS).protocol == b"websocket"
    with pytest.raises(HeadError, match=":protocol"):
        read_request(star, False, LIMITS)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"x", b"y")],
        [(b":status", b"99x")],
        [(b":status", b"101")],
        [*OK, (b":status", b"200")],
        [*OK, (b"Upper", b"x")],
        [*OK, (b"connection", b"close")],
        [*OK, (b"content-length", b"x")],
    ],
)
def test_a_bad_response_is_refused(fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(HeadError):
        read_response(fields, False, b"GET", LIMITS)


@pytest.mark.parametrize(
    ("method", "status", "is_end", "length"),
    [
        (b"GET", b"200", False, 5),
        (b"HEAD", b"200", True, 0),
        (b"GET", b"304", True, 0),
    ],
)
def test_a_told_length_is_anothers_bodys_where_there_is_none(
    method: bytes, status: bytes, is_end: bool, length: int
) -> None:
    fields = [(b":status", status), (b"content-length", b"5")]
    head = read_response(fields, is_end, method, LIMITS)

    assert head.length == length
    assert head.headers.get(b"content-length") == b"5"


def test_a_length_of_nothing_is_refused() -> None:
    with pytest.raises(HeadError):
        read_response([*OK, (b"content-length", b"5")], True, b"GET", LIMITS)


def test_trailers_that_would_change_the_head_are_dropped() -> None:
    read = read_trailers([(b"content-length", b"5"), (b"grpc-status", b"0")])

    assert read.raw == [(b"grpc-status", b"0")]
    with pytest.raises(HeadError):
        read_trailers([(b":status", b"200")])


def test_every_te_has_to_be_trailers() -> None:
    with pytest.raises(HeadError):
        read_request([*GET, (b"te", b"gzip"), (b"te", b"trailers")], True, LIMITS)
