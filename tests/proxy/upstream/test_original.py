"""Connections that no service names go on where they were going, within bounds."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from meshfilters.errors import LoopDetected, Overloaded, Refused
from meshfilters.exchange import Connection, Direction
from meshfilters.memory import stream_pair
from proxy.config import model
from proxy.upstream import original
from proxy.upstream.loops import LoopGuard, Own
from proxy.upstream.original import SHOWN, OriginalService
from tests.proxy.upstream.bench import Bench, unused

SETTINGS = model.Service("original", ())


@pytest.fixture
def own() -> Own:
    return Own()


@pytest.fixture
def made(bench: Bench, own: Own) -> OriginalService:
    guard = LoopGuard(own, lambda host: host.startswith("10.9."))
    return OriginalService(
        SETTINGS, bench.dial, bench.deadlines, bench.side_tasks, guard
    )


def going_to(address: str | None, direction: Direction = "outbound") -> Connection:
    stream, _ = stream_pair()
    return Connection(stream, "192.0.2.1:1", "out", direction, original=address)


async def test_an_address_has_one_pool_and_another_has_another(
    made: OriginalService, clock: object
) -> None:
    pool = made.choose(going_to("10.0.0.7:80"))

    assert pool.endpoint.address == "10.0.0.7:80"
    assert pool.endpoint.service == "original"
    assert made.choose(going_to("10.0.0.7:80")) is pool
    assert await made.wait_known(going_to("10.0.0.8:80")) is not pool
    assert repr(made) == "<OriginalService original: 2 addresses>"


async def test_what_was_not_redirected_came_to_the_proxy_itself(
    made: OriginalService, clock: object
) -> None:
    with pytest.raises(LoopDetected, match="not redirected") as caught:
        made.choose(going_to(None))

    assert caught.value.status == 508


async def test_what_the_guard_refuses_gets_no_pool(
    made: OriginalService, clock: object
) -> None:
    for address, error in (
        ("127.0.0.1:80", LoopDetected),
        ("169.254.169.254:80", Refused),
    ):
        with pytest.raises(error):
            made.choose(going_to(address))

    assert made.statistics() == []


async def test_what_one_direction_may_the_other_may_not_by_the_same_pool(
    made: OriginalService, clock: object
) -> None:
    made.choose(going_to("10.0.0.7:80"))
    with pytest.raises(Refused, match="another machine's"):
        made.choose(going_to("10.0.0.7:80", "inbound"))

    pool = made.choose(going_to("10.9.0.7:80", "inbound"))

    assert pool.endpoint.address == "10.9.0.7:80"


async def test_an_unused_address_is_given_up_and_one_in_use_is_kept(
    made: OriginalService, clock: object
) -> None:
    unused = made.choose(going_to("10.0.0.7:80"))
    used = made.choose(going_to("10.0.0.8:80"))
    await used.open_stream()
    await trio.sleep(SETTINGS.pool_idle + 0.1)

    assert unused._is_closed
    assert made.choose(going_to("10.0.0.8:80")) is used
    used.leave()
    await trio.sleep(2 * SETTINGS.pool_idle + 0.1)

    assert used._is_closed
    assert made.statistics() == []
    again = made.choose(going_to("10.0.0.8:80"))
    await trio.sleep(SETTINGS.pool_idle + 0.1)
    assert again._is_closed


async def test_one_too_many_takes_the_place_of_the_longest_unused(
    made: OriginalService, clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original, "LARGEST", 3)
    busy, oldest, other = (
        made.choose(going_to(f"10.0.0.{number}:80")) for number in (1, 2, 3)
    )
    await busy.open_stream()
    made.choose(going_to("10.0.0.4:80"))

    assert oldest._is_closed
    assert not busy._is_closed
    assert not other._is_closed


async def test_with_all_in_use_there_is_no_place(
    made: OriginalService, clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original, "LARGEST", 1)
    await made.choose(going_to("10.0.0.1:80")).open_stream()

    with pytest.raises(Overloaded, match="1 original addresses are in use"):
        made.choose(going_to("10.0.0.2:80"))


async def test_an_address_where_the_proxy_listens_since_is_forgotten(
    made: OriginalService, own: Own, clock: object
) -> None:
    ours = made.choose(going_to("10.9.0.1:4143"))
    other = made.choose(going_to("10.0.0.1:4143"))
    own.put("in", [("::", 4143, 0, 0)])
    made.recheck()

    assert ours._is_closed
    assert not other._is_closed
    with pytest.raises(LoopDetected):
        made.choose(going_to("10.9.0.1:4143"))


async def test_closed_it_serves_what_is_under_way_and_keeps_nothing(
    made: OriginalService, clock: object
) -> None:
    pool = made.choose(going_to("10.0.0.1:80"))
    made.close()
    late = made.choose(going_to("10.0.0.2:80"))

    assert pool._is_closed
    assert late._is_closed
    await late.open_stream()


async def test_one_pool_after_the_other_gives_up_what_is_unused(
    made: OriginalService, clock: object
) -> None:
    for number in (7, 8):
        await unused(made.choose(going_to(f"10.0.0.{number}:80")))

    assert made.relieve()
    assert sum(each["idle"] == 0 for each in made.statistics()) == 1
    assert made.relieve()
    assert sum(each["idle"] == 0 for each in made.statistics()) == 2
    assert not made.relieve()


async def test_statistics_show_the_busiest(
    made: OriginalService, clock: object
) -> None:
    pools = [
        made.choose(going_to(f"10.0.0.{number}:80")) for number in range(SHOWN + 5)
    ]
    await pools[-1].open_stream()
    shown = made.statistics()

    assert len(shown) == SHOWN
    assert (shown[0]["endpoint"], shown[0]["active"]) == ("10.0.0.24:80", 1)
