"""Whatever a client of HTTP/2 sends: nothing of ours fails, and nothing is left behind."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from meshfilters.exchange import Connection
from meshfilters.memory import MemoryStream, stream_pair
from meshfilters.message import Buffered, Headers, Request, Response
from meshfilters.testing import Chunks, read
from proxy.codec.h2.codec import PREFACE
from proxy.config.model import Http2
from proxy.downstream.multiplexed import ServerConnection
from tests.proxy.babble import Babble, run_seeds
from tests.proxy.downstream.served import Served
from tests.wire.raw import settings

SEEDS = {"ngh2": 1500, "h2": 300}
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


async def serve(request: Request, /) -> Response:
    if b"upgrade" in request.headers.index:
        near, _ = stream_pair()
        return Response(101, Headers([(b"upgrade", b"websocket")]), upgrade=near)
    match request.target:
        case b"/read":
            return Response(200, body=Buffered(await read(request.body)))
        case b"/echo":
            return Response(200, body=request.body)
        case b"/wait":
            await trio.sleep_forever()
        case b"/long":
            return Response(200, body=Chunks(*[b"x" * 30_000] * 20))
        case b"/fail":
            raise ValueError("a service of the test's")
        case b"/trailers":
            sums = Headers([(b"grpc-status", b"0")])
            return Response(200, body=Chunks(b"a", trailers=sums))
    return Response(200, body=Buffered(b"ok"))


async def listen(stream: MemoryStream, scope: trio.CancelScope) -> None:
    with scope, suppress(*GONE):
        while await stream.receive_some():
            pass


async def babble_at(session: ServerConnection, near: MemoryStream, seed: int) -> None:
    random = Random(seed)
    pieces = Babble(random, opens=True).pieces(random.choice([3, 10, 30, 80]))
    with suppress(*GONE):
        for piece in [PREFACE + settings() + pieces[0], *pieces[1:]]:
            with trio.move_on_after(1):
                await near.send_all(piece)
            if random.random() < 0.3:
                await wait_all_tasks_blocked()
            if random.random() < 0.01:
                session.drain()
            if random.random() < 0.01:
                await trio.sleep(random.choice([1, 6, 70]))


async def one(seed: int) -> int:
    """How many requests were served."""
    async with trio.open_nursery() as nursery:
        served = Served(nursery, serve)
        served.http.http2 = Http2(ping_interval=None)
        near, far = stream_pair()
        client = Connection(far, "192.0.2.1:1", "web", "inbound")
        session = ServerConnection(served.http, client)
        nursery.start_soon(session.run)
        listening = trio.CancelScope()
        nursery.start_soon(listen, near, listening)
        await babble_at(session, near, seed)
        await wait_all_tasks_blocked()
        listening.cancel()
        await near.aclose()
        await trio.sleep(10)

        assert {labels[-1] for labels, _ in served.failures()} <= {"ValueError"}
        assert not session.streams
        assert served.pipeline.active == 0
        assert len(served.side_tasks) == 0
        nursery.cancel_scope.cancel()
    served.readiness.close()
    return sum(each.status == 200 for each in served.outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("library", SEEDS)
def test_nothing_of_ours_fails_whatever_a_client_sends(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TULLE_HTTP2", library)

    served = run_seeds(one, SEEDS[library])

    # Not all of it was nonsense that was cut at once.
    assert served > SEEDS[library] / 10
