"""Each request goes to one endpoint, once; again only where that harms nobody."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import trio
import trio.testing

from meshfilters.errors import AttemptTimeout, ConnectFailed, MeshError, NoRoute
from meshfilters.exchange import Attempt, Limits
from meshfilters.message import Buffered, Request, Response
from meshfilters.testing import Chunks, read
from proxy.config import model
from proxy.upstream.forward import Forward
from proxy.upstream.service import Service, look_up
from tests.proxy.upstream.bench import Bench, heard

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Api:
    """A service of one endpoint behind a Forward."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        settings = model.Service("api", ("192.0.2.1:80",))
        self.service = Service(
            settings, bench.dial, bench.deadlines, bench.side_tasks, Random(1), look_up
        )
        self.forward = Forward({"api": self.service}, trio.current_time)
        self.response: Response | None = None
        self.error: MeshError | None = None

    async def ask(self, request: Request) -> None:
        try:
            self.response = await self.forward(request)
            await read(self.response.body)
        except MeshError as error:
            self.error = error

    async def warm(self) -> None:
        """Have one connection that has served."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.ask, self.bench.request())
            await trio.testing.wait_all_tasks_blocked()
            await heard(self.bench.peers[0])
            await self.bench.peers[0].send_soon(OK)
        assert self.state == "0 active 1 idle>"

    async def race(self, request: Request) -> None:
        """The peer closes on the request instead of answering it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.ask, request)
            await trio.testing.wait_all_tasks_blocked()
            self.bench.peers[0].close()
            await trio.testing.wait_all_tasks_blocked()
            if len(self.bench.peers) > 1:
                await self.bench.peers[1].receive_soon()
                await self.bench.peers[1].send_soon(OK)

    @property
    def state(self) -> str:
        return repr(self.service._choices[0]).partition(": ")[2]


async def test_a_request_is_answered_and_its_attempt_recorded(
    bench: Bench, clock: object
) -> None:
    api = Api(bench)
    request = bench.request()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(api.ask, request)
        await trio.testing.wait_all_tasks_blocked()
        assert api.state == "1 active 0 idle>"
        await bench.peers[0].send_soon(OK)

    [attempt] = request.exchange.attempts
    assert (attempt.number, attempt.status, attempt.reused) == (1, 200, False)
    assert attempt.endpoint.address == "192.0.2.1:80"
    assert attempt.head is not None
    assert attempt.ended is not None
    assert attempt.error is None
    assert request.exchange.spent > 0
    assert api.state == "0 active 1 idle>"


async def test_nobody_is_guessed_for_an_unknown_service(
    bench: Bench, clock: object
) -> None:
    request = bench.request()
    with pytest.raises(NoRoute, match="no service is named other") as caught:
        await Api(bench).forward(request.with_(destination="other"))

    assert caught.value.by == "forward"
    assert request.exchange.attempts == []


async def test_a_connection_that_is_there_is_used_again(
    bench: Bench, clock: object
) -> None:
    api = Api(bench)
    await api.warm()
    request = bench.request()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(api.ask, request)
        await trio.testing.wait_all_tasks_blocked()
        await bench.peers[0].send_soon(OK)

    assert request.exchange.attempts[0].reused
    assert len(bench.peers) == 1


@pytest.mark.parametrize(
    ("make", "is_sent_again"),
    [
        (lambda bench: bench.request(b"GET"), True),
        (lambda bench: bench.request(b"PUT", Buffered(b"x" * 9000)), True),
        (lambda bench: bench.request(b"POST", Buffered(b"x")), False),
        (lambda bench: bench.request(b"PUT", Chunks(b"x", b"y")), False),
    ],
)
async def test_a_request_that_raced_a_closing_is_sent_again_only_where_that_is_safe(
    bench: Bench, clock: object, make: Callable[[Bench], Request], is_sent_again: bool
) -> None:
    api = Api(bench)
    await api.warm()
    request = make(bench)

    await api.race(request)

    assert len(bench.peers) == 1 + is_sent_again
    assert (api.error is None) == is_sent_again
    [attempt] = request.exchange.attempts
    assert attempt.reused != is_sent_again
    assert api.state == ("0 active 1 idle>" if is_sent_again else "0 active 0 idle>")


async def test_a_request_on_its_own_connection_is_never_sent_again(
    bench: Bench, clock: object
) -> None:
    api = Api(bench)

    await api.race(bench.request())

    assert api.error is not None
    assert api.error.reason == "upstream reset"
    assert len(bench.peers) == 1


async def test_an_endpoint_that_refuses_is_the_attempts_error(
    bench: Bench, clock: object
) -> None:
    api, request = Api(bench), bench.request()
    bench.refusals.append(ConnectFailed())

    await api.ask(request)

    [attempt] = request.exchange.attempts
    assert attempt.error is api.error is not None
    assert attempt.ended is not None
    assert api.error.by == "forward"
    assert api.state == "0 active 0 idle>"


async def test_connecting_counts_to_the_attempt(bench: Bench, clock: object) -> None:
    async def stalled(_: object) -> None:
        await trio.sleep_forever()

    bench.dial = stalled  # type: ignore[method-assign,assignment]  # an endpoint that hangs
    api, request = Api(bench), bench.request(limits=Limits(attempt=2))
    begun = trio.current_time()

    await api.ask(request)

    assert type(api.error) is AttemptTimeout
    assert trio.current_time() - begun == pytest.approx(2)
    assert api.state == "0 active 0 idle>"
    assert api.service._choices[0].is_down


async def test_a_limit_that_has_passed_is_no_bug_of_anybodys(
    bench: Bench, clock: object
) -> None:
    api, request = Api(bench), bench.request(limits=Limits(attempt=2))
    attempt = bench.attempt(request)
    await trio.sleep(3)

    with pytest.raises(AttemptTimeout):
        await api.forward._open(api.service._choices[0], request, attempt)


async def test_within_its_limit_an_attempt_connects(
    bench: Bench, clock: object
) -> None:
    api, request = Api(bench), bench.request(limits=Limits(attempt=2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(api.ask, request)
        await trio.testing.wait_all_tasks_blocked()
        await bench.peers[0].send_soon(OK)

    assert api.error is None


async def test_a_watcher_edits_what_one_attempt_sends(
    bench: Bench, clock: object
) -> None:
    def mark(attempt: Attempt) -> None:
        attempt.headers.add(b"X-Attempt", b"%d" % attempt.number)

    api, request = Api(bench), bench.request()
    request.exchange.on_attempt(mark)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(api.ask, request)
        await trio.testing.wait_all_tasks_blocked()
        assert b"X-Attempt: 1\r\n" in await heard(bench.peers[0])
        await bench.peers[0].send_soon(OK)

    assert b"x-attempt" not in request.headers
