"""Whatever an HTTP/2 endpoint answers: every request ends, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from meshfilters.errors import MeshError
from meshfilters.memory import MemoryStream, stream_pair
from meshfilters.message import Body, Buffered, Headers, Request
from meshfilters.stream import Stream
from meshfilters.testing import Chunks, read
from proxy.config import model
from proxy.upstream.forward import Forward
from proxy.upstream.service import Service, look_up
from tests.proxy.babble import Babble, run_seeds
from tests.proxy.upstream.bench import Bench, upstream
from tests.wire.raw import settings

SEEDS = {"ngh2": 1500, "h2": 300}
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
PATIENCE = 300.0

BODIES: list[Callable[[], Body]] = [
    lambda: Buffered(b""),
    lambda: Buffered(b"abc"),
    lambda: Chunks(b"a" * 100, b"b" * 40_000, b"c" * 40_000),
    lambda: Chunks(b"a", trailers=Headers([(b"x-sum", b"1")])),
]
WEBSOCKET = [
    (b"Upgrade", b"websocket"),
    (b"Connection", b"upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
]


@attrs.define(eq=False)
class Endpoint:
    """Greets, and babbles."""

    random: Random
    nursery: trio.Nursery

    async def dial(self, endpoint: object) -> Stream:
        near, far = stream_pair()
        self.nursery.start_soon(self._serve, far)
        return near

    async def _serve(self, far: MemoryStream) -> None:
        random = self.random
        told = [(3, random.choice([1, 2, 100])), (8, random.choice([0, 1]))]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, far)
            with suppress(*GONE):
                if random.random() < 0.95:
                    await far.send_all(settings(*random.sample(told, 1)))
                await wait_all_tasks_blocked()
                babble = Babble(random, opens=False)
                for piece in babble.pieces(random.choice([1, 3, 10, 40])):
                    await far.send_all(piece)
                    if random.random() < 0.4:
                        await wait_all_tasks_blocked()
                await trio.sleep(random.choice([0, 1, 15]))
            nursery.cancel_scope.cancel()
        await far.aclose()

    async def _listen(self, far: MemoryStream) -> None:
        with suppress(*GONE):
            while await far.receive_some():
                pass


def request_of(bench: Bench, random: Random) -> Request:
    method = random.choice([b"GET", b"POST"])
    request = bench.request(method, random.choice(BODIES)())
    request.exchange.version = random.choice(["1.1", "2", "2"])
    if random.random() < 0.1:
        request = bench.request(b"GET", Buffered(b""), *WEBSOCKET)
    return request


async def ask(
    bench: Bench,
    forward: Forward,
    request: Request,
    patience: float,
    statuses: list[int],
) -> None:
    exchange = request.exchange
    runtime = exchange._runtime
    with trio.move_on_after(patience) as runtime.scope:  # type: ignore[attr-defined]
        with suppress(MeshError):
            response = await forward(request)
            statuses.append(response.status)
            if response.upgrade is not None:
                await response.upgrade.aclose()
            await read(response.body)
    await bench.side_tasks.join(exchange)


async def one(seed: int) -> int:
    """How many requests were answered."""
    random = Random(seed)
    async with upstream() as bench, trio.open_nursery() as nursery:
        settings = model.Service(
            "api",
            ("192.0.2.1:80",),
            protocol=random.choice(["auto", "http2"]),
            http2=model.Http2(ping_interval=random.choice([None, 10.0])),
        )
        dial = Endpoint(random, nursery).dial
        service = Service(
            settings, dial, bench.deadlines, bench.side_tasks, Random(1), look_up
        )
        forward = Forward({"api": service}, trio.current_time)
        statuses: list[int] = []
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as asking:
                for _ in range(random.choice([1, 4, 10])):
                    request = request_of(bench, random)
                    patience = random.choice([0, 0.5, 5, *[PATIENCE] * 20])
                    asking.start_soon(ask, bench, forward, request, patience, statuses)
                    if random.random() < 0.3:
                        await wait_all_tasks_blocked()
        service.close()
        await trio.sleep(30)

        [pool] = service._choices
        assert pool.active == 0
        assert not any(each.values for each in bench.metrics.counters.values())
        assert len(bench.side_tasks) == 0
        nursery.cancel_scope.cancel()
    return len(statuses)


@pytest.mark.slow
@pytest.mark.parametrize("library", SEEDS)
def test_every_request_ends_whatever_an_endpoint_answers(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TULLE_HTTP2", library)

    answered = run_seeds(one, SEEDS[library])

    # Not all of it was nonsense that was cut at once.
    assert answered > SEEDS[library] / 10
