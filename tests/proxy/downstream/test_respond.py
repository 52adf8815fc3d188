"""Errors as clients are told of them."""

from __future__ import annotations

import pytest

from meshfilters.errors import (
    BadRequest,
    DeadlineExceeded,
    MeshError,
    RateLimited,
    Refused,
)
from meshfilters.message import Buffered, Headers
from meshfilters.testing import Kit
from proxy.downstream.respond import error_response


def by(name: str, error: MeshError) -> MeshError:
    error.by = name
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused(), 403),
        (RateLimited(), 429),
        (DeadlineExceeded(), 504),
        (BadRequest(status=431), 431),
    ],
)
def test_the_status_is_the_errors_own(error: MeshError, status: int) -> None:
    assert error_response(error, None).status == status


def test_the_answer_says_why_and_by_which_filter() -> None:
    response = error_response(by("acl", Refused("not you")), None)

    assert response.headers.get(b"tulle-error") == b"refused; by=acl"
    assert isinstance(response.body, Buffered)
    assert response.body.data == b"refused: not you (by acl)\n"


def test_the_answer_has_the_errors_own_headers() -> None:
    kit = Kit()
    call = kit.ask(b"POST", b"/a.B/C", headers=[(b"content-type", b"application/grpc")])
    error = RateLimited("wait", headers=[(b"Retry-After", b"2")])

    for request in (kit.ask(), call, None):
        response = error_response(error, request)
        assert response.headers.getall(b"retry-after") == [b"2"]
        assert response.headers.get(b"tulle-error") == b"rate limited; by=proxy"


def test_an_error_that_no_filter_raised_is_the_proxys() -> None:
    response = error_response(Refused(), None)

    assert response.headers.get(b"tulle-error") == b"refused; by=proxy"
    assert isinstance(response.body, Buffered)
    assert response.body.data == b"refused (by proxy)\n"


def test_a_detail_is_one_short_line() -> None:
    response = error_response(Refused("a\r\nb\x00c" + "x" * 1000), None)

    assert isinstance(response.body, Buffered)
    assert response.body.data.startswith(b"refused: a  b cxxx")
    assert response.body.data.count(b"\n") == 1
    assert len(response.body.data) < 300


def test_a_filters_name_in_no_latin_letters_can_be_told() -> None:
    response = error_response(by("☂", Refused()), None)

    assert response.headers.get(b"tulle-error") == b"refused; by=?"


@pytest.mark.parametrize("kind", [b"application/grpc", b"Application/gRPC+proto"])
async def test_grpc_is_told_in_its_own_way(kind: bytes) -> None:
    request = Kit().ask(headers=[(b"Content-Type", kind)])

    response = error_response(by("acl", RateLimited("50 %\n☂")), request)

    assert response.status == 200
    assert response.body.length == 0
    assert response.headers == Headers(
        [
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"8"),
            (b"grpc-message", b"50 %25 %E2%98%82"),
            (b"tulle-error", b"rate limited; by=acl"),
        ]
    )


@pytest.mark.parametrize("kind", [b"application/json", b"application/grpc-web+proto"])
async def test_a_request_that_is_not_grpc_is_answered_in_text(kind: bytes) -> None:
    request = Kit().ask(headers=[(b"Content-Type", kind)])

    assert error_response(Refused(), request).status == 403
