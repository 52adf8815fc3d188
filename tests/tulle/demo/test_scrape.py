from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from meshfilters.counters import Metrics
from proxy.agent.exposition import render
from proxy.ipc.families import snapshot
from tulle.demo.scrape import NoAnswer, fetch, parse

PAGE = r"""
# HELP request_total Requests.
# TYPE request_total counter
request_total{direction="inbound",dst="app"} 3
request_total{direction="outbound",dst="api-v1"} 90
request_total{direction="outbound",dst="api-v2"} 10.5
up 1
odd{name="a\\b\"c\nd,e=\"f\"}"} 1e3
"""


def test_series_are_summed_by_the_labels_that_are_asked_for() -> None:
    page = parse(PAGE)

    assert page.total("request_total") == 103.5
    assert page.total("request_total", direction="outbound") == 100.5
    assert page.total("request_total", direction="outbound", dst="api-v1") == 90
    assert page.total("request_total", dst=("api-v2", "app")) == 13.5
    assert page.total("request_total", dst="nobody") == 0
    assert page.total("nothing") == 0
    assert page.total("up") == 1


def test_a_labels_value_is_what_it_was_before_it_was_escaped() -> None:
    assert parse(PAGE).values("odd", "name") == ['a\\b"c\nd,e="f"}']


def test_values_are_told_once_and_without_the_empty_one() -> None:
    page = parse(
        'x{a="2",b="1"} 1\nx{a="1",b="1"} 1\nx{a="1"} 1\nx{a=""} 1\nx{b="2"} 1'
    )

    assert page.values("x", "a") == ["1", "2"]
    assert page.values("x", "a", b="1") == ["1", "2"]
    assert page.values("x", "a", b="2") == []


def test_what_the_proxy_writes_is_read() -> None:
    metrics = Metrics()
    histogram = metrics.histogram("ms", "", ("dst",), buckets=(1.0, 2.0))
    for value in (0.5, 1.5, 1.6, 99):
        histogram.observe(("api",), value)
    histogram.observe(('a"b',), 1.5)

    page = parse(render(snapshot(metrics).values()).decode())

    assert page.buckets("ms", dst="api") == {1.0: 1, 2.0: 3, float("inf"): 4}
    assert page.buckets("ms") == {1.0: 1, 2.0: 4, float("inf"): 5}
    assert page.values("ms_count", "dst") == ['a"b', "api"]
    assert page.buckets("nothing") == {}


Handler = Callable[[trio.SocketStream], Awaitable[None]]


async def port_of(nursery: trio.Nursery, handler: Handler) -> str:
    async def start(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        await trio.serve_tcp(handler, 0, host="127.0.0.1", task_status=task_status)

    listeners = await nursery.start(start)
    return f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"


async def test_a_page_is_fetched_to_its_end(nursery: trio.Nursery) -> None:
    heard = []

    async def answer(stream: trio.SocketStream) -> None:
        heard.append(await stream.receive_some())
        await stream.send_all(b"HTTP/1.1 200 OK\r\na: b\r\n\r\nready")
        await stream.send_all(b"\r\n\r\nindeed")

    address = await port_of(nursery, answer)

    assert await fetch(address, "/ready") == "ready\r\n\r\nindeed"
    assert heard == [b"GET /ready HTTP/1.0\r\n\r\n"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.1 503 Busy\r\n\r\nnot ready", "HTTP/1.1 503 Busy"),
        (b"", "nothing"),
    ],
)
async def test_what_is_no_200_is_no_answer(
    nursery: trio.Nursery, said: bytes, reason: str
) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(said)

    address = await port_of(nursery, answer)

    with pytest.raises(NoAnswer, match=reason):
        await fetch(address, "/ready")


async def test_a_port_where_nobody_listens_is_no_answer() -> None:
    with trio.socket.socket() as held:
        await held.bind(("127.0.0.1", 0))
        with pytest.raises(NoAnswer, match="all attempts to connect"):
            await fetch(f"127.0.0.1:{held.getsockname()[1]}", "/ready")


async def test_who_says_nothing_is_not_waited_for_for_ever(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def be_silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    address = await port_of(nursery, be_silent)

    with pytest.raises(NoAnswer, match="no answer in 5 s"):
        await fetch(address, "/ready")
    nursery.cancel_scope.cancel()
