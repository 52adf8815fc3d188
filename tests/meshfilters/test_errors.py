from __future__ import annotations

import pytest

from meshfilters import errors
from meshfilters.errors import (
    ClientGone,
    ConnectFailed,
    ConnectTimeout,
    DownstreamError,
    MeshError,
    RateLimited,
    Refused,
    UpstreamError,
    UpstreamReset,
    mapped,
)

ALL = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, MeshError)
]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_can_become_an_answer(kind: type[MeshError]) -> None:
    error = kind()

    assert 400 <= error.status <= 599
    assert 0 < error.grpc_status <= 16
    assert error.reason.isascii()
    assert str(error) == error.reason


@pytest.mark.parametrize("kind", ALL)
def test_the_side_of_an_error_is_its_family(kind: type[MeshError]) -> None:
    is_downstream = issubclass(kind, DownstreamError)
    is_upstream = issubclass(kind, UpstreamError)

    assert (kind.side == "downstream") is is_downstream
    assert (kind.side == "upstream") is is_upstream


@pytest.mark.parametrize(
    ("kind", "status", "grpc_status", "closes"),
    [
        (errors.NoEndpoints, 504, 4, True),
        (errors.Overloaded, 503, 14, True),
        (errors.ConnectFailed, 502, 14, True),
        (errors.ConnectTimeout, 504, 4, True),
        (errors.DeadlineExceeded, 504, 4, False),
        (errors.AttemptTimeout, 504, 4, False),
        (errors.UpstreamReset, 502, 14, True),
        (errors.Refused, 403, 7, False),
        (errors.NoRoute, 404, 5, False),
        (errors.RateLimited, 429, 8, False),
        (errors.ClientGone, 499, 1, True),
        (errors.LoopDetected, 508, 10, True),
    ],
)
def test_statuses_are_linkerds(
    kind: type[MeshError], status: int, grpc_status: int, closes: bool
) -> None:
    assert (kind().status, kind.grpc_status, kind.closes) == (
        status,
        grpc_status,
        closes,
    )


def test_the_detail_is_the_text_and_the_reason_stays() -> None:
    error = Refused("not on Sundays")

    assert str(error) == "not on Sundays"
    assert error.reason == "refused"


def test_a_filter_may_choose_the_status() -> None:
    assert Refused(status=451).status == 451


def test_a_filter_may_say_more_in_headers() -> None:
    error = RateLimited(headers=[(b"Retry-After", b"2"), (b"X-Left", b"")])

    assert error.headers == ((b"Retry-After", b"2"), (b"X-Left", b""))
    assert Refused().headers == ()


@pytest.mark.parametrize(
    "field",
    [
        (b"a", b"b\r\nc: d"),
        (b"a b", b"c"),
        (b"", b"c"),
        (b"a", b"\0"),
        (b"a:", b""),
        (b"a", b" b"),
        (b"a", b"b\t"),
    ],
)
def test_a_header_that_would_not_be_one_is_refused(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="is not a header field"):
        Refused(headers=[field])


@pytest.mark.parametrize("name", [b"Content-Type", b"tulle-error", b"Connection"])
def test_a_header_of_the_proxys_own_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="the proxy writes it"):
        Refused(headers=[(name, b"x")])


def test_a_header_of_text_is_refused() -> None:
    with pytest.raises(TypeError, match="header field b'a': 'b' is not bytes"):
        Refused(headers=[(b"a", "b")])  # type: ignore[list-item]  # what it is about


def test_an_error_knows_what_was_sent_and_how() -> None:
    assert (MeshError().sent, MeshError().reused, MeshError().by) == (
        False,
        False,
        None,
    )
    error = UpstreamReset(sent=True, reused=True)

    assert (error.sent, error.reused) == (True, True)


def test_a_rate_limit_is_not_told_apart_where_overload_is_caught() -> None:
    with pytest.raises(errors.Overloaded):
        raise RateLimited


def test_foreign_errors_are_mapped_and_kept_as_cause() -> None:
    caught = pytest.raises(ConnectFailed, match="refused")
    with caught as info, mapped({OSError: ConnectFailed}):
        raise ConnectionRefusedError("refused")

    assert isinstance(info.value.__cause__, ConnectionRefusedError)


def test_the_first_that_fits_maps() -> None:
    table = {KeyError: ClientGone, TimeoutError: ConnectTimeout, OSError: ConnectFailed}
    with pytest.raises(ConnectTimeout), mapped(table):
        raise TimeoutError


def test_other_errors_pass_unmapped() -> None:
    with pytest.raises(ValueError, match="mine"), mapped({OSError: ConnectFailed}):
        raise ValueError("mine")


def test_what_does_not_fail_is_left_alone() -> None:
    with mapped({OSError: ConnectFailed}):
        done = True

    assert done
