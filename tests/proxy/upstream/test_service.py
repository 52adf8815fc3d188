"""A service knows its addresses, old ones if need be, and takes the less busy one."""

from __future__ import annotations

from random import Random

import pytest
import trio
import trio.testing

from meshfilters.errors import NoEndpoints
from proxy.config import model
from proxy.upstream.service import LOOKUP_TIME, Lookup, Service, look_up
from tests.proxy.upstream.bench import Bench, unused


class Names:
    """A scripted lookup: answers in turn, the last one for ever."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        await trio.lowlevel.checkpoint()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def never(host: str, port: int) -> list[str]:
    await trio.sleep_forever()


def service(bench: Bench, *endpoints: str, lookup: Lookup = never) -> Service:
    settings = model.Service("api", endpoints)
    return Service(
        settings, bench.dial, bench.deadlines, bench.side_tasks, Random(1), lookup
    )


def addresses(made: Service) -> list[object]:
    return [each["endpoint"] for each in made.statistics()]


async def test_one_endpoint_is_always_chosen(bench: Bench, clock: object) -> None:
    made = service(bench, "192.0.2.1:80")

    pool = made.choose()

    assert pool is not None
    assert pool.endpoint.address == "192.0.2.1:80"
    assert repr(made) == "<Service api: 1 endpoints>"


async def test_of_two_at_random_the_less_busy_is_chosen(
    bench: Bench, clock: object
) -> None:
    made = service(bench, *(f"192.0.2.{number}:80" for number in range(1, 5)))
    chosen: dict[str, int] = {}
    for number in range(4):
        made._choices[number].active = number
    for _ in range(1200):
        pool = made.choose()
        assert pool is not None
        last = pool.endpoint.address
        chosen[last] = chosen.get(last, 0) + 1

    # 3 of 6 pairs have the least busy one, 2 the next, 1 the third, none the busiest.
    assert set(chosen) == {"192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"}
    assert chosen["192.0.2.1:80"] == pytest.approx(600, abs=60)
    assert chosen["192.0.2.3:80"] == pytest.approx(200, abs=60)


async def test_one_that_refused_is_passed_over_while_another_is_there(
    bench: Bench, clock: object
) -> None:
    made = service(bench, "192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80")
    first, second, third = made._choices
    third.active = 9

    first.punish()
    assert {made.choose() for _ in range(50)} == {second, third}
    second.punish()
    assert {made.choose() for _ in range(50)} == {third}
    third.punish()
    assert {made.choose() for _ in range(50)} == {first, second}


async def test_one_pool_after_the_other_gives_up_what_is_unused(
    bench: Bench, clock: object
) -> None:
    made = service(bench, "192.0.2.1:80", "192.0.2.2:80")
    for pool in made._choices:
        await unused(pool)

    assert made.relieve()
    assert sum(each["idle"] == 0 for each in made.statistics()) == 1
    assert made.relieve()
    assert sum(each["idle"] == 0 for each in made.statistics()) == 2
    assert not made.relieve()


async def test_a_name_is_looked_up_and_the_first_request_waits(
    bench: Bench, clock: object
) -> None:
    names = Names(["192.0.2.1:80", "192.0.2.2:80"])
    made = service(bench, "api.test:80", lookup=names)
    assert made.choose() is None

    pool = await made.wait_known()

    assert pool.endpoint.host == "api.test"
    assert addresses(made) == ["192.0.2.1:80", "192.0.2.2:80"]
    assert names.asked == [("api.test", 80)]


async def test_new_addresses_get_pools_and_those_of_gone_ones_close(
    bench: Bench, clock: object
) -> None:
    names = Names(["192.0.2.1:80", "192.0.2.2:80"], ["192.0.2.2:80", "192.0.2.3:80"])
    made = service(bench, "api.test:80", lookup=names)
    made.choose()
    await made.wait_known()
    gone, kept = made._choices

    made.choose()
    await trio.testing.wait_all_tasks_blocked()
    assert len(names.asked) == 1
    await trio.sleep(made.settings.resolve)
    made.choose()
    made.choose()
    await trio.testing.wait_all_tasks_blocked()

    assert addresses(made) == ["192.0.2.2:80", "192.0.2.3:80"]
    assert made._choices[0] is kept
    assert gone._is_closed
    assert len(names.asked) == 2


@pytest.mark.parametrize(
    "failure", [OSError("no answer"), UnicodeError("label too long")]
)
async def test_the_last_answer_is_kept_when_a_lookup_fails(
    bench: Bench, clock: object, failure: Exception
) -> None:
    made = service(bench, "api.test:80", lookup=Names(["192.0.2.1:80"], failure))
    made.choose()
    await made.wait_known()
    await trio.sleep(made.settings.resolve)

    made.choose()
    await trio.testing.wait_all_tasks_blocked()

    assert addresses(made) == ["192.0.2.1:80"]


async def test_a_name_nobody_knows_fails_fast_until_it_is_asked_again(
    bench: Bench, clock: object
) -> None:
    names = Names(OSError("unknown"), ["192.0.2.1:80"])
    made = service(bench, "api.test:80", lookup=names)
    for _ in range(3):
        assert made.choose() is None
        with pytest.raises(NoEndpoints, match=r"api: no address for api\.test"):
            await made.wait_known()
    assert len(names.asked) == 1

    await trio.sleep(made.settings.resolve)
    made.choose()
    await made.wait_known()


async def test_nobody_waits_for_a_lookup_for_ever(bench: Bench, clock: object) -> None:
    made = service(bench, "api.test:80")
    made.choose()
    begun = trio.current_time()

    with pytest.raises(NoEndpoints):
        await made.wait_known()

    assert trio.current_time() - begun == pytest.approx(LOOKUP_TIME)


async def test_closing_closes_every_pool(bench: Bench, clock: object) -> None:
    made = service(bench, "192.0.2.1:80", "unix:/run/app.sock")

    made.close()

    assert all(pool._is_closed for pool in made._choices)


async def test_the_system_knows_loopback() -> None:
    assert await look_up("127.0.0.1", 80) == ["127.0.0.1:80"]
    assert await look_up("::1", 80) == ["[::1]:80"]
