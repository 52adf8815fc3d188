from __future__ import annotations

import math

import pytest

from meshfilters.api import chain
from meshfilters.errors import DeadlineExceeded, UpstreamReset
from meshfilters.message import Response
from meshfilters.testing import Kit, check_filter
from meshfilters.timeout import Timeout


async def test_it_does_what_every_filter_must() -> None:
    await check_filter(Timeout(request=10, head=5, idle=2).build)


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


@pytest.mark.parametrize("name", ["request", "head", "idle"])
@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_a_limit_must_be_above_zero(name: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=name):
        Timeout(**{name: seconds})
