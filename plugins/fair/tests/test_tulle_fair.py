from __future__ import annotations

from importlib.metadata import entry_points

import attrs
import pytest

from meshfilters.api import chain
from meshfilters.errors import Overloaded, UpstreamReset
from meshfilters.message import Response
from meshfilters.testing import Kit, check_filter
from tulle_fair import Fair

INSTALLED = entry_points(group="meshfilters.request", name="fair")


async def test_a_client_over_its_limit_is_refused() -> None:
    kit = Kit()
    upstream = kit.script(Response(200), Response(200))
    service = chain([Fair(limit=1).build(kit.env)], upstream)
    first, second, third = kit.ask(), kit.ask(), kit.ask()

    await service(first)
    with pytest.raises(Overloaded):
        await service(second)
    kit.end(first)

    assert (await service(third)).status == 200


async def test_a_refusal_is_counted_as_a_decision() -> None:
    kit = Kit("fair")
    service = chain([Fair(limit=1).build(kit.env)], kit.script(Response(200)))

    await service(kit.ask())
    with pytest.raises(Overloaded):
        await service(kit.ask())

    assert kit.decisions == {"refused": 1}


async def test_clients_are_told_apart_by_the_name_they_proved() -> None:
    kit = Kit()
    upstream = kit.script(Response(200), Response(200))
    service = chain([Fair(limit=1).build(kit.env)], upstream)

    await service(kit.ask(peer="spiffe://example.org/ns/shop/sa/web"))
    other = await service(kit.ask(peer="spiffe://example.org/ns/shop/sa/cart"))

    assert other.status == 200


async def test_a_request_that_failed_makes_room_too() -> None:
    kit = Kit()
    upstream = kit.script(UpstreamReset(), Response(200))
    service = chain([Fair(limit=1).build(kit.env)], upstream)
    failing = kit.ask()

    with pytest.raises(UpstreamReset):
        await service(failing)
    kit.end(failing, None, UpstreamReset())

    assert (await service(kit.ask())).status == 200


async def test_it_does_what_every_filter_must() -> None:
    await check_filter(Fair().build)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused_when_the_file_is_read(limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        Fair(limit=limit)


def test_the_configuration_is_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Fair().limit = 3  # type: ignore[misc]  # what the test is about


@pytest.mark.skipif(not INSTALLED, reason="tulle-fair is not installed here")
def test_its_word_in_a_chain_is_fair() -> None:
    (entry,) = INSTALLED

    assert entry.load() is Fair
