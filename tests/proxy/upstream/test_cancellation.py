"""Cancelled at any await, an exchange leaves its pool whole and its peer told."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from meshfilters.message import EMPTY, Body, Request
from meshfilters.testing import Chunks
from tests.proxy.upstream.bench import Bench
from tests.proxy.upstream.test_forward import Api

AWAITS = 12
"""More than any of these exchanges has."""

ANSWER = (
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"2\r\nok\r\n",
    b"0\r\n\r\n",
)


class Patient(Chunks):
    """A body that comes a chunk a turn, and says when nobody reads it any more."""

    is_read = False

    async def receive(self) -> bytes:
        assert not self.is_read
        self.is_read = True
        try:
            return await super().receive()
        finally:
            self.is_read = False


async def answer(bench: Bench) -> None:
    """Play the peer of every connection, a piece a turn, and never fail."""
    while not bench.peers:
        await trio.lowlevel.checkpoint()
    peer = bench.peers[-1]
    try:
        await peer.receive_soon()
        for piece in ANSWER:
            await trio.testing.wait_all_tasks_blocked()
            await peer.send_soon(piece)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def cancelled_after(api: Api, request: Request, turns: int) -> bool:
    """Cancel the exchange once it has been blocked ``turns`` times; False if over."""
    scope = trio.CancelScope()
    done = trio.Event()

    async def ask() -> None:
        with scope:
            response = await api.forward(request)
            try:
                while await response.body.receive():
                    pass
            finally:
                await response.body.aclose()
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(answer, api.bench)
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        scope.cancel()
        await done.wait()
        nursery.cancel_scope.cancel()
    return scope.cancelled_caught


@pytest.mark.parametrize("turns", range(0, 3 * AWAITS, 2))
@pytest.mark.parametrize("kind", ["bare", "whole", "streamed", "held back"])
async def test_a_cancelled_exchange_leaves_its_pool_whole(
    bench: Bench, turns: int, kind: str
) -> None:
    body: Body = EMPTY if kind == "bare" else Patient(b"ab", b"c", length=3)
    if kind == "whole":
        body = Patient(b"abc")
    fields = [(b"Expect", b"100-continue")] if kind == "held back" else []
    api = Api(bench)
    request = bench.request(b"PUT", body, *fields)

    was_cancelled = await cancelled_after(api, request, turns)
    await bench.side_tasks.join(request.exchange)
    await trio.testing.wait_all_tasks_blocked()

    if was_cancelled:
        assert api.state == "0 active 0 idle>"
        assert all(
            each.watch.has_hung_up for each in bench.peers if not each._is_closed
        )
    else:
        assert api.state in ("0 active 1 idle>", "0 active 0 idle>")
    assert len(bench.side_tasks) == 0
    if isinstance(body, Patient):
        assert not body.is_read


async def test_a_connection_that_was_lent_and_cancelled_is_not_lent_again(
    bench: Bench, clock: object
) -> None:
    api = Api(bench)
    await api.warm()

    with trio.CancelScope() as scope:
        scope.cancel()
        await api.forward(bench.request())

    assert scope.cancelled_caught
    assert api.state == "0 active 0 idle>"
