from __future__ import annotations

from collections import Counter

import pytest

from meshfilters.api import chain
from meshfilters.errors import UpstreamError
from meshfilters.message import Response
from meshfilters.retry import Retry
from meshfilters.split import Split
from meshfilters.testing import Kit, check_filter


async def destinations(split: Split, count: int, kit: Kit) -> Counter[str]:
    upstream = kit.script(*(Response(200) for _ in range(count)))
    service = chain([split.build(kit.env)], upstream)
    for _ in range(count):
        await service(kit.ask(destination="reviews"))
    return Counter(each.destination for each in upstream.requests)


async def test_it_does_what_every_filter_must() -> None:
    await check_filter(Split({"reviews-v1": 1, "reviews-v2": 1}).build)


async def test_requests_fall_by_weight() -> None:
    fell = await destinations(Split({"v1": 9, "v2": 1}), 1000, Kit(seed=1))

    assert fell.keys() == {"v1", "v2"}
    assert 70 < fell["v2"] < 130


@pytest.mark.parametrize(
    "weights", [{"v1": 0, "v2": 5}, {"v2": 5, "v3": 0}, {"v1": 0, "v2": 1, "v3": 0}]
)
async def test_weight_zero_is_never_chosen(weights: dict[str, int]) -> None:
    fell = await destinations(Split(weights), 200, Kit())

    assert fell == {"v2": 200}


@pytest.mark.parametrize(
    ("drawn", "chosen"), [(0.0, "v1"), (0.2499, "v1"), (0.25, "v3"), (1 - 2**-53, "v3")]
)
async def test_the_edges_of_the_draw_belong_to_somebody(
    drawn: float, chosen: str
) -> None:
    kit = Kit()
    kit.env.random.random = lambda: drawn  # type: ignore[method-assign]  # the chance

    fell = await destinations(Split({"v1": 1, "v2": 0, "v3": 3}), 1, kit)

    assert list(fell) == [chosen]


async def test_only_what_asks_for_the_named_service_is_split() -> None:
    kit = Kit()
    upstream = kit.script(Response(200), Response(200))
    service = chain([Split({"v2": 1}, of="reviews").build(kit.env)], upstream)

    await service(kit.ask(destination="reviews"))
    await service(kit.ask(destination="ratings"))

    assert [each.destination for each in upstream.requests] == ["v2", "ratings"]


async def test_the_clients_request_keeps_its_destination() -> None:
    kit = Kit()
    request = kit.ask(destination="reviews")

    await chain([Split({"v2": 1}).build(kit.env)], kit.script(Response(200)))(request)

    assert request.destination == "reviews"


async def test_what_was_chosen_is_counted() -> None:
    kit = Kit("split")

    fell = await destinations(Split({"v1": 1, "v2": 1}), 20, kit)

    assert kit.counts("tulle_split_chosen_total") == {
        ("reviews", name): count for name, count in fell.items()
    }


async def test_behind_retry_every_try_draws_anew(autojump_clock: object) -> None:
    kit = Kit()
    drawn = iter([0.1, 0.0, 0.9])
    kit.env.random.random = lambda: next(drawn)  # type: ignore[method-assign]  # the chance
    upstream = kit.script(UpstreamError(), Response(200))
    split = Split({"v1": 1, "v2": 1}).build(kit.env)
    service = chain([Retry().build(kit.env), split], upstream)

    await service(kit.ask(destination="reviews"))

    assert [each.destination for each in upstream.requests] == ["v1", "v2"]


def test_some_weight_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match="at least one weight must be above 0"):
        Split({"v1": 0})


@pytest.mark.parametrize("weights", [{}, {"v1": -1, "v2": 3}])
def test_weights_that_make_no_sense_are_refused(weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"weights|>= 0"):
        Split(weights)


def test_every_service_it_names_must_be_in_the_file() -> None:
    split = Split({"v1": 9, "v2": 0}, of="reviews")

    assert list(split.destinations()) == ["v1", "v2", "reviews"]
    assert list(Split({"v1": 1}).destinations()) == ["v1"]
