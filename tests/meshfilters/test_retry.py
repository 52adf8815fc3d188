from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from meshfilters.api import Service, chain
from meshfilters.backoff import BackOff
from meshfilters.budget import BudgetSize
from meshfilters.errors import (
    AttemptTimeout,
    ClientGone,
    ConnectFailed,
    MeshError,
    Overloaded,
    UpstreamError,
    UpstreamReset,
)
from meshfilters.message import EMPTY, Body, Buffered, Headers, Request, Response
from meshfilters.retry import Retry
from meshfilters.testing import Chunks, Kit, Reply, Scripted, check_filter, read

GRPC = [(b"Host", b"cart"), (b"Content-Type", b"application/grpc")]
UNAVAILABLE = [(b"grpc-status", b"14")]
TWICE = Retry(grpc=frozenset({"unavailable", "deadline-exceeded"}))
"""Lets calls that came to one of these be sent again."""
NO_BUDGET = BudgetSize(ratio=0, min_per_second=0)


class AtOnce(Random):
    """Draws the shortest back-off there is."""

    def random(self) -> float:
        return 0.0


def wrapped(
    kit: Kit, upstream: Service[Request, Response], retry: Retry | None = None
) -> Service[Request, Response]:
    kit.env.random = AtOnce()
    return chain([(retry or Retry()).build(kit.env)], upstream)


def behind_retry(
    kit: Kit, *replies: Reply, retry: Retry | None = None
) -> tuple[Service[Request, Response], Scripted]:
    upstream = kit.script(*replies)
    return wrapped(kit, upstream, retry), upstream


async def test_it_does_what_every_filter_must(autojump_clock: MockClock) -> None:
    await check_filter(Retry(attempt_timeout=1).build)
    await check_filter(TWICE.build)


def call(kit: Kit, body: Body = EMPTY) -> Request:
    return kit.ask(b"POST", b"/shop.Cart/Add", headers=GRPC, body=body)


def trailers_only(code: bytes = b"14", *more: tuple[bytes, bytes]) -> Response:
    return Response(200, Headers([(b"grpc-status", code), *more]))


def all_here(code: bytes = b"14", data: bytes = b"") -> Response:
    """A response whose head, body and trailers came at once."""
    return Response(200, body=Buffered(data, Headers([(b"grpc-status", code)])))


async def test_a_failed_request_is_sent_again() -> None:
    kit = Kit("retry")
    service, upstream = behind_retry(kit, Response(503), Response(200))

    response = await service(kit.ask())

    assert response.status == 200
    assert len(upstream.requests) == 2
    assert kit.decisions == {"retried": 1}
    assert kit.counts("tulle_retry_retries_total") == {("service",): 1}
    assert kit.counts("tulle_retry_successes_total") == {("service",): 1}


async def test_success_is_not_retried_and_not_counted() -> None:
    kit = Kit("retry")
    service, upstream = behind_retry(kit, Response(200))

    await service(kit.ask())

    assert len(upstream.requests) == 1
    assert kit.decisions == {}
    assert kit.counts("tulle_retry_successes_total") == {}


@pytest.mark.parametrize("status", [500, 501, 505, 404, 429, 301])
async def test_other_statuses_are_handed_on(status: int) -> None:
    kit = Kit()
    service, upstream = behind_retry(kit, Response(status))

    assert (await service(kit.ask())).status == status
    assert len(upstream.requests) == 1


async def test_a_retry_that_ends_in_another_failure_is_no_success() -> None:
    kit = Kit("retry")
    service, _ = behind_retry(kit, Response(503), Response(500))

    await service(kit.ask())

    assert kit.counts("tulle_retry_successes_total") == {}


async def test_the_last_failure_is_the_answer() -> None:
    kit = Kit()
    replies = [Response(502), Response(504), Response(503)]
    service, upstream = behind_retry(kit, *replies)

    assert await service(kit.ask()) is replies[2]
    assert len(upstream.requests) == 3
    assert kit.decisions == {"retried": 2, "limit_reached": 1}


async def test_the_last_error_is_raised() -> None:
    kit = Kit()
    errors = [UpstreamReset(sent=True), UpstreamReset(sent=True), ConnectFailed()]
    service, _ = behind_retry(kit, *errors)

    with pytest.raises(ConnectFailed):
        await service(kit.ask())
    assert kit.decisions == {"retried": 2, "limit_reached": 1}


async def test_what_a_dropped_response_leaves_is_closed_and_the_answers_is_not() -> (
    None
):
    kit = Kit()
    dropped, answered = Chunks(b"a"), Chunks(b"b")
    service, _ = behind_retry(
        kit, Response(503, body=dropped), Response(200, body=answered)
    )

    await service(kit.ask())

    assert dropped.is_closed
    assert not answered.is_closed


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"get"])
async def test_an_unsafe_method_is_not_sent_twice(method: bytes) -> None:
    kit = Kit()
    service, upstream = behind_retry(kit, Response(503))

    assert (await service(kit.ask(method))).status == 503
    assert len(upstream.requests) == 1
    assert kit.decisions == {"unsafe": 1}


async def test_an_unsafe_method_is_not_sent_again_once_some_of_it_was_sent() -> None:
    kit = Kit()
    service, upstream = behind_retry(kit, AttemptTimeout(sent=True))

    with pytest.raises(AttemptTimeout):
        await service(kit.ask(b"POST"))
    assert len(upstream.requests) == 1


async def test_any_method_is_sent_again_if_nothing_was_sent() -> None:
    kit = Kit()
    service, _ = behind_retry(kit, ConnectFailed(), Response(200))

    assert (await service(kit.ask(b"POST"))).status == 200


async def test_methods_can_be_declared_safe() -> None:
    kit = Kit()
    retry = Retry(methods=frozenset({"POST"}))
    service, _ = behind_retry(
        kit, Response(503), UpstreamReset(sent=True), Response(200), retry=retry
    )

    assert (await service(kit.ask(b"POST"))).status == 200


@pytest.mark.parametrize("error", [Overloaded(), MeshError(), ClientGone()])
async def test_what_is_not_the_upstreams_fault_is_not_retried(error: MeshError) -> None:
    kit = Kit()
    service, upstream = behind_retry(kit, error)

    with pytest.raises(type(error)):
        await service(kit.ask())
    assert len(upstream.requests) == 1
    assert kit.decisions == {}


async def test_a_cancelled_exchange_is_not_retried() -> None:
    kit = Kit()

    def gone(request: Request) -> Response:
        request.exchange.cancel(ClientGone())
        raise UpstreamReset

    service, upstream = behind_retry(kit, gone)

    with pytest.raises(UpstreamReset):
        await service(kit.ask())
    assert len(upstream.requests) == 1
    assert kit.decisions == {"cancelled": 1}


async def test_without_budget_the_failure_is_the_answer() -> None:
    kit = Kit("retry")
    service, upstream = behind_retry(kit, Response(503), retry=Retry(budget=NO_BUDGET))

    assert (await service(kit.ask())).status == 503
    assert len(upstream.requests) == 1
    assert kit.decisions == {"budget_exhausted": 1}
    assert kit.counts("tulle_retry_budget_refusals_total") == {("service",): 1}


async def test_requests_pay_for_retries() -> None:
    kit = Kit()
    budget = BudgetSize(ratio=0.5, min_per_second=0)
    replies = [Response(200), Response(503), Response(200), Response(503)]
    service, _ = behind_retry(kit, *replies, retry=Retry(budget=budget))

    statuses = [(await service(kit.ask())).status for _ in range(3)]

    assert statuses == [200, 200, 503]


async def test_the_budget_is_shared_out_over_the_workers() -> None:
    kit = Kit()
    kit.env.workers = 10
    running = Retry(budget=BudgetSize(ratio=0)).build(kit.env)

    assert repr(running) == "<retry <Budget 10 left: 0 retries for 0 requests in 10 s>>"


@pytest.mark.parametrize("chunks", [(), (b"a",), (b"one ", b"two ", b"three")])
async def test_a_streamed_body_is_sent_again(chunks: tuple[bytes, ...]) -> None:
    kit = Kit()
    service, upstream = behind_retry(kit, Response(503), Response(200))

    await service(kit.ask(b"PUT", body=Chunks(*chunks)))

    assert upstream.bodies == [b"".join(chunks)] * 2


async def test_a_body_that_is_here_is_sent_again_whatever_its_size() -> None:
    kit = Kit()
    trailers = Headers([(b"digest", b"x")])
    service, upstream = behind_retry(
        kit, Response(503), Response(200), retry=Retry(keep=0)
    )

    await service(kit.ask(b"PUT", body=Buffered(b"payload", trailers)))

    assert upstream.bodies == [b"payload"] * 2
    assert upstream.requests[1].body.trailers == trailers


async def test_a_body_already_here_is_not_wrapped() -> None:
    kit = Kit()
    service, upstream = behind_retry(kit, Response(200), Response(200))
    whole = kit.ask(b"PUT", body=Buffered(b"payload"))
    without = kit.ask()

    await service(whole)
    await service(without)

    assert upstream.requests == [whole, without]
    assert without.body is EMPTY


async def test_a_body_somebody_began_to_read_is_sent_again_from_there() -> None:
    kit = Kit()
    body = Buffered(b"payload")
    await body.receive()
    service, upstream = behind_retry(kit, Response(503), Response(200))

    await service(kit.ask(b"PUT", body=body))

    assert upstream.bodies == [b"", b""]


async def test_a_long_body_is_sent_but_not_retried() -> None:
    kit = Kit()
    service, upstream = behind_retry(kit, Response(503), retry=Retry(keep=5))

    response = await service(kit.ask(b"PUT", body=Chunks(b"abc", b"def", b"ghi")))

    assert response.status == 503
    assert upstream.bodies == [b"abcdefghi"]
    assert kit.decisions == {"not_replayable": 1}


async def test_the_rest_of_a_body_streams_after_the_answer() -> None:
    kit = Kit()
    tries: list[Body] = []

    async def upstream(request: Request, /) -> Response:
        tries.append(request.body)
        await request.body.receive()
        return Response(503 if len(tries) == 1 else 200)

    source = Chunks(b"a", b"b", b"c")
    await wrapped(kit, upstream)(kit.ask(b"PUT", body=source))

    assert source.received == 1
    assert await read(tries[1]) == b"bc"
    await tries[1].aclose()
    assert source.is_closed


async def test_a_try_whose_response_was_dropped_reads_no_more_of_the_body() -> None:
    kit = Kit()
    tries: list[Body] = []

    async def upstream(request: Request, /) -> Response:
        tries.append(request.body)
        return Response(503, body=Closing(tries[0]) if len(tries) == 1 else EMPTY)

    await wrapped(kit, upstream, Retry(retries=1))(kit.ask(b"PUT", body=Chunks(b"a")))

    assert await read(tries[1]) == b"a"


class Closing(Chunks):
    """A response's body; at its closing the request is still being read."""

    def __init__(self, request: Body) -> None:
        super().__init__(b"x")
        self.request = request

    async def aclose(self) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await self.request.receive()


async def test_an_upstream_that_wants_no_more_of_a_body_stops_the_client() -> None:
    kit = Kit()
    source = Chunks(b"a", b"b")

    async def upstream(request: Request, /) -> Response:
        await request.body.aclose()
        raise UpstreamReset(sent=True)

    with pytest.raises(UpstreamReset):
        await wrapped(kit, upstream)(kit.ask(body=source))
    assert source.is_closed


async def test_what_filters_inside_do_to_a_request_is_not_done_twice() -> None:
    kit = Kit()
    seen: list[tuple[bytes, int]] = []

    async def upstream(request: Request, /) -> Response:
        request.target = b"/v1" + request.target
        request.headers.add(b"via", b"inside")
        seen.append((request.target, len(request.headers.getall(b"via"))))
        return Response(503)

    await wrapped(kit, upstream)(kit.ask())

    assert seen == [(b"/v1/", 1)] * 3


async def test_it_backs_off_with_full_jitter(autojump_clock: MockClock) -> None:
    kit = Kit(seed=3)
    chance = Random(3)
    retry = Retry(back_off=BackOff(base=1, max=60)).build(kit.env)
    service = chain([retry], kit.script(Response(503), Response(503), Response(200)))

    await service(kit.ask())

    assert trio.current_time() == chance.random() * 1 + chance.random() * 2


async def test_a_cancellation_while_it_backs_off_sends_nothing_more() -> None:
    kit = Kit()
    slow = Headers([(b"Retry-After", b"60")])
    retry = Retry(back_off=BackOff(max=60))
    service, upstream = behind_retry(kit, Response(503, slow), retry=retry)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service, kit.ask())
        await trio.testing.wait_all_tasks_blocked()
        assert kit.decisions == {"retried": 1}
        nursery.cancel_scope.cancel()

    assert len(upstream.requests) == 1
    assert kit.counts("tulle_filter_retries_total") == {}


async def test_a_server_that_asks_to_wait_a_little_is_waited_for(
    autojump_clock: MockClock,
) -> None:
    kit = Kit()
    slow = Headers([(b"Retry-After", b"2")])
    service, _ = behind_retry(
        kit,
        Response(503, slow),
        Response(200),
        retry=Retry(back_off=BackOff(base=0.1, max=2)),
    )

    assert (await service(kit.ask())).status == 200
    assert trio.current_time() == 2


async def test_a_server_that_asks_to_wait_long_is_not_asked_again() -> None:
    kit = Kit()
    slow = Headers([(b"Retry-After", b"1")])
    service, upstream = behind_retry(kit, Response(503, slow))

    assert (await service(kit.ask())).status == 503
    assert len(upstream.requests) == 1
    assert kit.decisions == {"told_to_wait": 1}


@pytest.mark.parametrize(("passed", "tries"), [(7.5, 2), (8.0, 1), (9.0, 1)])
async def test_what_the_limit_would_end_first_is_not_sent_again(
    autojump_clock: MockClock, passed: float, tries: int
) -> None:
    kit = Kit()
    retry = Retry(retries=1, back_off=BackOff(max=60))
    slow = Response(503, Headers([(b"Retry-After", b"2")]))
    service, upstream = behind_retry(kit, slow, slow, retry=retry)
    request = kit.ask()
    request.exchange.lower(request=10)
    kit.advance(passed)

    assert await service(request) is slow
    assert len(upstream.requests) == tries
    assert ("out_of_time" in kit.decisions) == (tries == 1)


async def test_each_attempt_can_be_limited() -> None:
    kit = Kit()
    service, _ = behind_retry(kit, Response(200), retry=Retry(attempt_timeout=0.5))
    request = kit.ask()

    await service(request)

    assert request.exchange.limits.attempt == 0.5


async def test_an_attempt_that_took_too_long_is_sent_again() -> None:
    kit = Kit()
    service, _ = behind_retry(kit, AttemptTimeout(sent=True), Response(200))

    assert (await service(kit.ask())).status == 200


async def test_the_statuses_can_be_chosen() -> None:
    kit = Kit()
    retry = Retry(statuses=frozenset({429}), retries=1)
    service, upstream = behind_retry(
        kit, Response(429), Response(429), Response(503), retry=retry
    )

    assert (await service(kit.ask())).status == 429
    assert (await service(kit.ask())).status == 503
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("retries", lambda: Retry(retries=0)),
        ("retries", lambda: Retry(retries=101)),
        ("statuses", lambda: Retry(statuses=frozenset({200}))),
        ("methods", lambda: Retry(methods=frozenset({"post"}))),
        ("attempt_timeout", lambda: Retry(attempt_timeout=0)),
        ("keep", lambda: Retry(keep=-1)),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    field: str, make: Callable[[], Retry]
) -> None:
    with pytest.raises(ValueError, match=field):
        make()


async def test_an_upstream_error_of_no_kind_is_retried() -> None:
    kit = Kit()
    service, _ = behind_retry(kit, UpstreamError(sent=True), Response(200))

    assert (await service(kit.ask())).status == 200


@pytest.mark.parametrize(
    "failure",
    [
        trailers_only(),
        all_here(),
        Response(503),
        Response(503, body=Chunks(b"<html>")),
        Response(429, body=Buffered(b"too much")),
        UpstreamReset(sent=True),
        AttemptTimeout(sent=True),
    ],
)
async def test_a_call_is_sent_again_after_a_listed_status(
    failure: Response | UpstreamError,
) -> None:
    kit = Kit("retry")
    service, upstream = behind_retry(kit, failure, all_here(b"0"), retry=TWICE)

    response = await service(call(kit, Chunks(b"a", b"b")))

    assert response.body.trailers.get(b"grpc-status") == b"0"
    assert upstream.bodies == [b"ab"] * 2
    assert kit.decisions == {"retried": 1}
    assert kit.counts("tulle_retry_successes_total") == {("service",): 1}


@pytest.mark.parametrize(
    "failure", [trailers_only(), all_here(), Response(503), all_here(b"4")]
)
async def test_a_call_is_not_sent_again_unless_its_status_is_listed(
    failure: Response,
) -> None:
    kit = Kit()
    other = Retry(grpc=frozenset({"aborted"}))
    for retry in (Retry(), other):
        service, upstream = behind_retry(kit, failure, retry=retry)

        assert await service(call(kit)) is failure
        assert len(upstream.requests) == 1


async def test_a_call_is_not_sent_again_by_default_once_some_of_it_was_sent() -> None:
    kit = Kit()
    service, _ = behind_retry(kit, ConnectFailed(), UpstreamReset(sent=True))

    with pytest.raises(UpstreamReset):
        await service(call(kit))
    assert kit.decisions == {"retried": 1, "unsafe": 1}


async def test_what_is_not_grpc_has_no_grpc_status() -> None:
    kit = Kit()
    web = [(b"Content-Type", b"application/grpc-web")]
    for request in (kit.ask(b"POST"), kit.ask(b"POST", headers=web)):
        service, upstream = behind_retry(kit, trailers_only(), retry=TWICE)

        assert (await service(request)).status == 200
        assert len(upstream.requests) == 1


async def test_a_response_under_way_is_handed_on_unread() -> None:
    kit = Kit()
    body = Chunks(trailers=UNAVAILABLE)
    service, upstream = behind_retry(kit, Response(200, body=body), retry=TWICE)

    response = await service(call(kit))

    assert response.body is body
    assert not body.is_closed
    assert len(upstream.requests) == 1


async def test_a_response_with_messages_is_handed_on_however_it_ends() -> None:
    kit = Kit()
    streamed = all_here(data=b"a message")
    service, _ = behind_retry(kit, streamed, retry=TWICE)

    response = await service(call(kit))

    assert response is streamed
    assert await read(response.body) == b"a message"
    assert kit.decisions == {}


async def test_the_last_failure_of_a_call_is_handed_on_whole() -> None:
    kit = Kit("retry")
    service, _ = behind_retry(kit, all_here(), all_here(), all_here(), retry=TWICE)

    response = await service(call(kit))

    assert await read(response.body) == b""
    assert response.body.trailers == Headers(UNAVAILABLE)
    assert kit.decisions == {"retried": 2, "limit_reached": 1}
    assert kit.counts("tulle_retry_successes_total") == {}


@pytest.mark.parametrize(("code", "rescued"), [(b"13", 0), (b"5", 1), (b"0", 1)])
async def test_a_call_that_ends_in_another_failure_is_no_success(
    code: bytes, rescued: int
) -> None:
    kit = Kit("retry")
    service, _ = behind_retry(kit, all_here(), all_here(code), retry=TWICE)

    await service(call(kit))

    assert sum(kit.counts("tulle_retry_successes_total").values()) == rescued


async def test_an_attempt_that_is_dropped_has_its_status_noted() -> None:
    kit = Kit()
    service, _ = behind_retry(kit, all_here(), all_here(b"0"), retry=TWICE)
    request = call(kit)

    await service(request)

    assert [each.grpc_status for each in request.exchange.attempts] == [14, None]


async def test_a_failure_of_no_attempt_is_sent_again_too() -> None:
    kit = Kit()
    replies = [trailers_only(), trailers_only(b"0")]

    async def inside(request: Request, /) -> Response:
        return replies.pop(0)

    response = await wrapped(kit, inside, TWICE)(call(kit))

    assert response.headers.get(b"grpc-status") == b"0"


async def test_a_call_waits_as_its_server_asks(autojump_clock: MockClock) -> None:
    kit = Kit()
    slow = trailers_only(b"14", (b"grpc-retry-pushback-ms", b"2000"))
    retry = Retry(grpc=frozenset({"unavailable"}), back_off=BackOff(max=2))
    service, _ = behind_retry(kit, slow, all_here(b"0"), retry=retry)

    await service(call(kit))

    assert trio.current_time() == 2


@pytest.mark.parametrize("asked", [b"-1", b"1000"])
async def test_a_server_that_wants_no_more_of_a_call_is_not_asked_again(
    asked: bytes,
) -> None:
    kit = Kit()
    told = trailers_only(b"14", (b"grpc-retry-pushback-ms", asked))
    service, upstream = behind_retry(kit, told, retry=TWICE)

    assert await service(call(kit)) is told
    assert len(upstream.requests) == 1
    assert kit.decisions == {"told_to_wait": 1}


async def test_calls_pay_from_the_same_budget() -> None:
    kit = Kit("retry")
    retry = Retry(grpc=frozenset({"unavailable"}), budget=NO_BUDGET)
    service, upstream = behind_retry(kit, all_here(), retry=retry)

    await service(call(kit))

    assert len(upstream.requests) == 1
    assert kit.decisions == {"budget_exhausted": 1}


async def test_a_call_longer_than_what_is_kept_is_not_sent_again() -> None:
    kit = Kit()
    retry = Retry(grpc=frozenset({"unavailable"}), keep=1)
    service, upstream = behind_retry(kit, all_here(), retry=retry)

    await service(call(kit, Chunks(b"ab", b"cd")))

    assert upstream.bodies == [b"abcd"]
    assert kit.decisions == {"not_replayable": 1}
