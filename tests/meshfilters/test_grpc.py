from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis.strategies import floats

from meshfilters.errors import ClientGone, DeadlineExceeded, MeshError
from meshfilters.exchange import Outcome
from meshfilters.grpc import (
    CODES,
    NAMES,
    NEVER,
    ended_with,
    implied_by,
    is_grpc,
    method_of,
    pushback,
    read_timeout,
    status_in,
    status_of,
    write_timeout,
)
from meshfilters.message import EMPTY, Body, Buffered, Headers, Response
from meshfilters.testing import Chunks, Kit


def ending(code: bytes) -> Headers:
    return Headers([(b"grpc-status", code)])


@pytest.mark.parametrize(
    "kind",
    [
        b"application/grpc",
        b"application/grpc+proto",
        b"application/grpc+json",
        b"application/grpc;charset=utf-8",
        b"application/grpc ; charset=utf-8",
        b"Application/GRPC",
    ],
)
def test_a_request_is_grpc_by_its_content_type(kind: bytes) -> None:
    assert is_grpc(Kit().ask(b"POST", headers=[(b"Content-Type", kind)]))


@pytest.mark.parametrize(
    "kind",
    [
        b"",
        b"application/json",
        b"application/grp",
        b"application/grpc-web",
        b"application/grpc-web+proto",
        b"application/grpcish",
        b"text/application/grpc",
    ],
)
def test_other_requests_are_not(kind: bytes) -> None:
    assert not is_grpc(Kit().ask(b"POST", headers=[(b"Content-Type", kind)]))
    assert not is_grpc(Kit().ask(b"POST"))


@pytest.mark.parametrize(
    ("target", "method"),
    [
        (b"/shop.v1.Cart/Add", ("shop.v1.Cart", "Add")),
        (b"/Cart/add_2", ("Cart", "add_2")),
        (b"/shop.Cart/Add?x=1", None),
        (b"/shop.Cart/Add/", None),
        (b"/shop..Cart/Add", None),
        (b"/a/b/C", None),
        (b"/shop.Cart/\xc3\xa4", None),
        (b"/shop.Cart/Add\n", None),
        (b"/shop.Cart/" + b"x" * 300, None),
        (b"*", None),
    ],
)
def test_a_path_names_service_and_method(
    target: bytes, method: tuple[str, str] | None
) -> None:
    assert method_of(target) == method


def test_a_status_has_its_code_and_linkerds_spelling() -> None:
    assert len(NAMES) == 17
    assert (CODES["ok"], CODES["deadline-exceeded"], CODES["unauthenticated"]) == (
        *(0, 4),
        16,
    )


@pytest.mark.parametrize(
    ("written", "status"),
    [
        (b"0", 0),
        (b"16", 16),
        (b"17", 2),
        (b"-1", 2),
        (b"014", 2),
        (b"", 2),
        (b"x", 2),
        (b"9" * 10_000, 2),
    ],
)
def test_a_status_nobody_knows_is_unknown(written: bytes, status: int) -> None:
    assert status_in(ending(written)) == status


@pytest.mark.parametrize(
    ("status", "implied"),
    [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (503, 14), (200, 2)],
)
def test_an_answer_that_is_not_grpc_implies_a_status(status: int, implied: int) -> None:
    assert implied_by(status) == implied
    assert implied_by(None) == 2


@pytest.mark.parametrize(
    ("status", "head", "body", "found"),
    [
        (200, ending(b"14"), EMPTY, 14),
        (200, ending(b"14"), Buffered(b"", ending(b"0")), 14),
        (200, Headers(), Buffered(b"", ending(b"14")), 14),
        (200, Headers(), Buffered(b"message", ending(b"8")), None),
        (503, Headers(), Buffered(b"<html>"), 14),
        (200, Headers(), EMPTY, 2),
        (503, Headers(), EMPTY, 14),
        (503, Headers(), Chunks(b"<html>"), 14),
        (200, Headers(), Chunks(trailers=[(b"grpc-status", b"14")]), None),
    ],
)
def test_a_response_without_messages_has_a_status_once_it_is_here(
    status: int, head: Headers, body: Body, found: int | None
) -> None:
    assert status_of(Response(status, head, body)) == found


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (b"0", 0.0),
        (b"1500", 1.5),
        (b"-1", NEVER),
        (b"soon", NEVER),
        (b"9" * 5000, NEVER),
    ],
)
def test_a_server_says_when_to_try_again(told: bytes, seconds: float) -> None:
    asks = Headers([(b"grpc-status", b"8"), (b"grpc-retry-pushback-ms", told)])

    assert pushback(Response(200, asks)) == seconds
    assert pushback(Response(200, body=Buffered(b"", asks))) == seconds


def test_a_server_that_says_nothing_asks_for_nothing() -> None:
    assert pushback(Response(200, ending(b"14"))) == 0
    assert pushback(Response(200, body=Chunks())) == 0


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome(200, grpc_status=5), 5),
        (Outcome(200, grpc_status=99), 2),
        (Outcome(200, DeadlineExceeded()), 4),
        (Outcome(None, ClientGone()), 1),
        (Outcome(500, MeshError()), 13),
        (Outcome(429), 14),
        (Outcome(200), 2),
    ],
)
def test_every_call_ends_with_a_status(outcome: Outcome, status: int) -> None:
    assert ended_with(outcome) == status


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"3S", 3),
        (b"250m", 0.25),
        (b"99999999u", 99.999999),
        (b"0n", 0),
        (b"007S", 7),
    ],
)
def test_a_timeout_is_read(value: bytes, seconds: float) -> None:
    assert read_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", [b"", b"S", b"1", b"1s", b"123456789m", b"-1S", b"1.5S", b" 1S", b"1S\n"]
)
def test_what_is_no_timeout_is_not_read(value: bytes) -> None:
    assert read_timeout(value) is None


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (0, b"0n"),
        (-1, b"0n"),
        (0.05, b"50000000n"),
        (1.5, b"1500000u"),
        (3600, b"3600000m"),
        (1e6, b"1000000S"),
        (1e10, b"2777777H"),
        (1e18, b"99999999H"),
    ],
)
def test_a_timeout_is_written_as_exactly_as_it_can_be(
    seconds: float, value: bytes
) -> None:
    assert write_timeout(seconds) == value


@given(floats(min_value=0, max_value=3e11))
def test_a_timeout_written_is_never_longer_and_hardly_shorter(seconds: float) -> None:
    read = read_timeout(write_timeout(seconds))

    assert read is not None
    assert read <= seconds * (1 + 1e-12)
    assert read == pytest.approx(seconds, rel=1e-4, abs=1e-9)
