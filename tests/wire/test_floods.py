"""A client that floods is cut within a bound, and a good one beside it notices nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import attrs
import pytest

from tests.wire.attack import (
    MUCH,
    Attack,
    Attackers,
    ask,
    attack,
    dribble,
    flip,
)
from tests.wire.client import Address
from tests.wire.floods import CALM, FLOODS, Codes
from tests.wire.origin import Origin
from tests.wire.running import Running, free_ports, running

pytestmark = [pytest.mark.slow, pytest.mark.wire]

LIBRARIES = ("ngh2", "h2")

STARTED = 250
"""Requests that an attacker may have started when it is cut (Envoy's bound)."""
GROWTH = 32 * 1024 * 1024
"""Bytes of memory that all floods together may cost."""

ASKED = 100
"""Requests of the good client."""
UNNOTICED = 1.0
"""CPU seconds of the proxy's that a good client may have to wait behind, the 95th
percentile. It is 0.05; where the test's own process has to wait for a core, the proxy
goes on with the attackers meanwhile, and 0.34 were seen. A worker that hangs has 5."""

Runs = Callable[[Address], Attack]

CUT: Mapping[str, tuple[Runs, tuple[Codes, Codes]]] = {
    "dribble": (dribble, (CALM, CALM)),
    **{
        flood.__name__: (partial(attack, flood=flood), codes)
        for flood, codes in FLOODS.items()
    },
}
ALL: Mapping[str, Runs] = {"flip": flip, **{name: CUT[name][0] for name in CUT}}


@attrs.frozen
class Place:
    """A proxy, its origin, and what it was before the first flood."""

    library: str
    origin: Origin
    proxy: Running
    workers: set[int]
    resident: int

    @property
    def address(self) -> Address:
        return self.proxy.addresses[0]

    def problems(self) -> list[str]:
        """What the floods have done to the proxy."""
        said = self.proxy.log.read_text()
        bad = ("filter failed", "bug in Tulle", "Traceback")
        found = [f"said {each!r}" for each in bad if each in said]
        if self.proxy.workers != self.workers:
            found.append("a worker has died")
        growth = self.proxy.resident() - self.resident
        if growth > GROWTH:
            found.append(f"grew by {growth} bytes")
        return found


@pytest.fixture(scope="module", params=LIBRARIES)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    (port,) = free_ports(1)
    log = tmp_path_factory.mktemp("floods") / "proxy.log"
    with Origin() as origin, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TULLE_HTTP2", request.param)
        origin.bodies[MUCH] = bytes(1024 * 1024)
        arguments = ["--listen", f"127.0.0.1:{port}", "--to", origin.url]
        with running(arguments, [port], log) as proxy:
            # What HTTP/2 takes at first is no flood's.
            ask(proxy, 1)
            yield Place(request.param, origin, proxy, proxy.workers, proxy.resident())


@pytest.mark.parametrize("name", CUT)
def test_an_attacker_is_cut_within_a_thousand_frames(place: Place, name: str) -> None:
    run, codes = CUT[name]
    place.origin.take()

    done = run(place.address)

    wanted = codes[LIBRARIES.index(place.library)]
    assert done.code in wanted
    assert done.has_ended == (done.code is not None)
    assert done.code is None or len(place.origin.take()) <= STARTED
    assert not place.problems()


@pytest.mark.parametrize("name", ALL)
def test_a_good_client_keeps_its_latency(place: Place, name: str) -> None:
    place.origin.take()
    with Attackers(partial(ALL[name], place.address)) as attackers:
        good = ask(place.proxy, ASKED)

    attacked = [
        asked
        for asked in good.spans
        if any(asked.overlaps(each.span) for each in attackers.attacks)
    ]
    assert attackers.error is None
    assert len(attacked) > ASKED / 2
    assert good.statuses == {200}
    assert good.p95 <= UNNOTICED
    place.origin.take()
    assert not place.problems()
