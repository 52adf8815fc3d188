from __future__ import annotations

import math

import pytest

from meshfilters.api import chain
from meshfilters.errors import DeadlineExceeded, UpstreamReset
from meshfilters.message import Request, Response
from meshfilters.testing import Kit, check_filter
from meshfilters.timeout import Timeout


async def test_it_does_what_every_filter_must() -> None:
    await check_filter(Timeout(request=10, head=5, idle=2).build)


def call(kit: Kit, timeout: bytes | None = None) -> Request:
    """A gRPC request, of which the kit's exchange begins now."""
    headers = [(b"Content-Type", b"application/grpc")]
    if timeout is not None:
        headers.append((b"grpc-timeout", timeout))
    return kit.ask(b"POST", b"/shop.Cart/Add", headers=headers)


async def told(
    kit: Kit, request: Request, *filters: Timeout, after: float = 0.0
) -> bytes | None:
    """What an attempt that begins some seconds later tells its server."""
    service = chain(
        [each.build(kit.env) for each in filters], kit.script(Response(200))
    )
    await service(request)
    kit.advance(after)
    return kit.attempt(request).headers.get(b"grpc-timeout")


async def test_limits_are_put_on_the_exchange_and_others_left_alone() -> None:
    kit = Kit()
    request = kit.ask()
    service = chain(
        [Timeout(head=5, idle=None).build(kit.env)], kit.script(Response(200))
    )

    await service(request)

    limits = request.exchange.limits
    assert (limits.request, limits.head, limits.idle) == (math.inf, 5, math.inf)
    assert limits.attempt == math.inf


async def test_a_limit_is_never_raised() -> None:
    kit = Kit()
    kit.limits.request, kit.limits.idle = 3, 30
    request = kit.ask()
    filters = [Timeout(request=10, idle=20), Timeout(idle=25)]
    service = chain(
        [each.build(kit.env) for each in filters], kit.script(Response(200))
    )

    await service(request)

    assert (request.exchange.limits.request, request.exchange.limits.idle) == (3, 20)


async def test_limits_stand_before_the_service_is_asked() -> None:
    kit = Kit()

    def reply(request: object) -> Response:
        seen.append(asked.exchange.limits.request)
        return Response(200)

    seen: list[float] = []
    asked = kit.ask()
    await chain([Timeout(request=1).build(kit.env)], kit.script(reply))(asked)

    assert seen == [1]


async def test_a_limit_that_ran_out_is_counted_and_other_ends_are_not() -> None:
    kit = Kit()
    service = chain(
        [Timeout(request=1).build(kit.env)],
        kit.script(Response(200), Response(200), Response(200)),
    )
    for error in (None, UpstreamReset(), DeadlineExceeded("request")):
        request = kit.ask()
        await service(request)
        kit.end(request, error=error)

    assert kit.decisions == {"ran_out": 1}


async def test_idle_is_limited_unless_told() -> None:
    kit = Kit()
    request = kit.ask()

    await chain([Timeout().build(kit.env)], kit.script(Response(200)))(request)

    limits = request.exchange.limits
    assert (limits.request, limits.head, limits.idle) == (math.inf, math.inf, 300)


def test_one_limit_at_least_must_be_set() -> None:
    with pytest.raises(ValueError, match="at least one of request, head and idle"):
        Timeout(idle=None)


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_a_limit_must_be_above_zero(seconds: float) -> None:
    with pytest.raises(ValueError, match="request"):
        Timeout(request=seconds)
    with pytest.raises(ValueError, match="head"):
        Timeout(head=seconds)
    with pytest.raises(ValueError, match="idle"):
        Timeout(idle=seconds)


async def test_a_calls_own_timeout_lowers_the_limit() -> None:
    kit = Kit()
    request = call(kit, b"2500m")

    await told(kit, request, Timeout(request=10))

    assert request.exchange.limits.request == 2.5


async def test_a_calls_own_timeout_raises_no_limit() -> None:
    kit = Kit()
    request = call(kit, b"1H")

    await told(kit, request, Timeout(request=10))

    assert request.exchange.limits.request == 10


@pytest.mark.parametrize(
    ("asked", "limit", "server"),
    [
        (b"5S", None, b"3000000u"),
        (b"5S", 3, b"1000000u"),
        (b"2500m", 10, b"500000u"),
        (None, 3, b"1000000u"),
        (None, None, None),
        (b"soon", None, b"soon"),
        (b"soon", 3, b"soon"),
        (b"1S", None, b"0n"),
    ],
)
async def test_a_server_is_told_what_is_left_of_the_lower(
    asked: bytes | None, limit: float | None, server: bytes | None
) -> None:
    kit = Kit()

    assert await told(kit, call(kit, asked), Timeout(request=limit), after=2) == server


async def test_a_server_is_told_the_lowest_of_several() -> None:
    kit = Kit()
    filters = (Timeout(request=10), Timeout(request=4))

    assert await told(kit, call(kit, b"5S"), *filters, after=1) == b"3000000u"


async def test_each_attempt_is_told_anew() -> None:
    kit = Kit()
    request = call(kit, b"5S")

    first = await told(kit, request, Timeout())
    kit.advance(4)
    second = kit.attempt(request).headers

    assert (first, second.get(b"grpc-timeout")) == (b"5000000u", b"1000000u")
    assert request.headers.getall(b"grpc-timeout") == [b"5S"]
    assert second.getall(b"grpc-timeout") == [b"1000000u"]


async def test_a_call_whose_time_is_over_is_not_sent() -> None:
    kit = Kit()
    upstream = kit.script()
    service = chain([Timeout().build(kit.env)], upstream)
    request = call(kit, b"0n")

    with pytest.raises(DeadlineExceeded, match="grpc-timeout is over") as raised:
        await service(request)
    kit.end(request, 200, raised.value)

    assert upstream.requests == []
    assert raised.value.grpc_status == 4
    assert kit.decisions == {"ran_out": 1}


async def test_time_spent_before_the_filter_counts() -> None:
    kit = Kit()
    request = call(kit, b"1S")
    kit.advance(1)

    with pytest.raises(DeadlineExceeded):
        await told(kit, request, Timeout())


async def test_timeouts_of_calls_can_be_left_alone() -> None:
    kit = Kit()
    request = call(kit, b"1S")

    assert await told(kit, request, Timeout(request=9, grpc=False), after=2) == b"1S"
    assert request.exchange.limits.request == 9


async def test_what_is_not_grpc_is_told_nothing() -> None:
    kit = Kit()
    request = kit.ask(headers=[(b"grpc-timeout", b"1S")])

    assert await told(kit, request, Timeout(request=9)) == b"1S"
    assert request.exchange.limits.request == 9
    assert not request.exchange.is_watched
