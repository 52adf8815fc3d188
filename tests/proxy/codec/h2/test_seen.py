"""A head that comes again is the same head, and nobody's but its reader's."""

from __future__ import annotations

import pytest

from meshfilters.message import Headers
from proxy.codec.h2.fields import HeadError
from proxy.codec.h2.seen import LARGEST, Requests, Responses, Trailers
from proxy.config.model import Http

LIMITS = Http()
GET = (
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"App:80"),
    (b":path", b"/x"),
    (b"x-some", b"thing"),
)
OK = ((b":status", b"200"), (b"content-length", b"2"))


def test_a_request_that_comes_again_is_read_alike() -> None:
    requests = Requests()

    first, second = (requests.read(GET, True, LIMITS) for _ in range(2))

    for name in ("method", "target", "headers", "host", "length", "scheme", "protocol"):
        assert getattr(first, name) == getattr(second, name), name
    assert first.host == b"app"


def test_what_became_of_one_head_is_not_the_nexts() -> None:
    requests = Requests()
    first = requests.read(GET, True, LIMITS)
    first.headers.set(b"x-some", b"else")
    first.method = b"PUT"
    second = requests.read(GET, True, LIMITS)
    second.headers.remove(b"x-some")

    third = requests.read(GET, True, LIMITS)

    assert (third.method, third.headers.get(b"x-some")) == (b"GET", b"thing")


@pytest.mark.parametrize("is_end", [True, False])
def test_an_end_makes_another_head(is_end: bool) -> None:
    requests = Requests()
    requests.read(GET, not is_end, LIMITS)

    assert requests.read(GET, is_end, LIMITS).length == (0 if is_end else None)


def test_other_limits_are_held_anew() -> None:
    requests, two = Requests(), (*GET, (b"y", b"z"))
    requests.read(two, True, LIMITS)

    with pytest.raises(HeadError, match="too many"):
        requests.read(two, True, Http(max_headers=1))


def test_a_refused_head_is_refused_again() -> None:
    requests = Requests()
    for _ in range(2):
        with pytest.raises(HeadError):
            requests.read((*GET, (b"connection", b"close")), True, LIMITS)


def test_a_large_head_is_not_kept() -> None:
    requests = Requests()
    large = (*GET, *((b"x-%d" % n, b"y") for n in range(LARGEST)))
    first, second = (requests.read(large, True, LIMITS) for _ in range(2))

    assert first.headers == second.headers
    assert requests.read(GET, True, LIMITS).headers.get(b"x-1") is None


def test_a_response_that_comes_again_is_read_alike() -> None:
    responses = Responses()
    first = responses.read(OK, False, b"GET", LIMITS)
    first.headers.remove(b"content-length")

    second = responses.read(OK, False, b"GET", LIMITS)

    assert (second.status, second.length) == (200, 2)
    assert second.headers.get(b"content-length") == b"2"


def test_an_answer_to_head_is_no_others() -> None:
    responses = Responses()
    responses.read(OK, False, b"GET", LIMITS)

    assert responses.read(OK, True, b"HEAD", LIMITS).length == 0
    assert responses.read(OK, False, b"GET", LIMITS).length == 2


def test_trailers_that_come_again_are_read_alike() -> None:
    trailers = Trailers()
    ended = ((b"grpc-status", b"0"),)
    first = trailers.read(ended)
    first.set(b"grpc-status", b"2")

    assert trailers.read(ended) == Headers(ended)
    assert trailers.read(((b"grpc-status", b"5"),)).get(b"grpc-status") == b"5"
    for _ in range(2):
        with pytest.raises(HeadError):
            trailers.read(((b"grpc-status", b" 0"),))
