"""Spans reach receivers that others wrote: rotel (Rust) and oteltap (Rust, Python)."""

from __future__ import annotations

import json
import signal
from typing import Literal

import pytest

from meshfilters.api import Service, chain
from meshfilters.env import SpanRecord
from meshfilters.message import Request, Response
from meshfilters.testing import Kit
from meshfilters.trace import Trace
from proxy.agent.spans import QUEUE, SpanSender
from proxy.config.model import Tracing
from tests.processes.receivers import (
    WAIT,
    Found,
    free_port,
    parse_oteltap,
    parse_rotel,
    read_until,
    running,
    start_oteltap,
    start_rotel,
)

pytestmark = pytest.mark.slow

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WEB = "spiffe://example.org/ns/shop/sa/web"


async def retried() -> list[SpanRecord]:
    """The records of an exchange whose first attempt failed."""
    kit = Kit("trace", direction="outbound")

    async def once_more(
        request: Request, inner: Service[Request, Response], /
    ) -> Response:
        await inner(request)
        return await inner(request)

    headers = [
        (b"Host", b"api.shop:8080"),
        (b"traceparent", f"00-{TRACE}-{CALLER}-01".encode()),
    ]
    request = kit.ask(target=b"/cart", headers=headers, peer=WEB)
    upstream = kit.script(Response(503), Response(200))
    await chain([Trace().build(kit.env), once_more], upstream)(request)
    kit.end(request)
    return [json.loads(json.dumps(span)) for span in kit.spans]


def send(records: list[SpanRecord], tracing: Tracing) -> dict[str, int]:
    dropped: list[int] = []
    sender = SpanSender(tracing, drop=dropped.append, fail=dropped.append)
    for record in records:
        assert sender.offer(record)
    sender.close(WAIT)
    assert not dropped
    return sender.statistics()


def check(found: Found) -> None:
    server, first, second = found
    assert {each["trace"] for each in found} == {TRACE}
    assert server["parent"] == CALLER
    assert first["parent"] == second["parent"] == server["id"]
    assert first["id"] != second["id"]
    assert [each["kind"] for each in found] == ["SERVER", "CLIENT", "CLIENT"]
    assert [each["is_error"] for each in found] == [False, True, False]
    said = [each["attributes"] for each in found]
    assert said[0]["mesh.client.identity"] == WEB
    assert said[0]["mesh.retries"] == "1"
    assert said[0]["http.response.status_code"] == "200"
    assert said[1]["http.response.status_code"] == said[1]["error.type"] == "503"
    assert "http.request.resend_count" not in said[1]
    assert said[2]["http.request.resend_count"] == "1"
    assert said[2]["url.full"] == "http://api.shop:8080/cart"


async def test_oteltap_gets_a_retried_exchange() -> None:
    records, port = await retried(), free_port()
    with running(*start_oteltap(port)) as receiver:
        read_until(receiver, "Listening")
        counts = send(records, Tracing(endpoint=f"http://127.0.0.1:{port}"))
        lines = read_until(receiver, "resend_count")

    assert counts["exported"] == 3
    check(parse_oteltap(lines))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_rotel_gets_a_retried_exchange(protocol: Literal["http", "grpc"]) -> None:
    records, http, grpc = await retried(), free_port(), free_port()
    with running(*start_rotel(http, grpc)) as receiver:
        read_until(receiver, "Starting Rotel")
        port = http if protocol == "http" else grpc
        tracing = Tracing(endpoint=f"http://127.0.0.1:{port}", protocol=protocol)
        counts = send(records, tracing)
        lines = read_until(receiver, "resend_count")

    assert counts["exported"] == 3
    check(parse_rotel(lines))


async def test_a_receiver_that_stands_still_blocks_nobody() -> None:
    record, port = (await retried())[0], free_port()
    dropped: list[int] = []
    with running(*start_oteltap(port)) as receiver:
        read_until(receiver, "Listening")
        receiver.send_signal(signal.SIGSTOP)
        sender = SpanSender(
            Tracing(endpoint=f"http://127.0.0.1:{port}"),
            drop=dropped.append,
            fail=dropped.append,
        )
        taken = [sender.offer(record) for _ in range(QUEUE + 10)]
        sender.close(0)

    assert taken == [True] * QUEUE + [False] * 10
    assert sum(dropped) == QUEUE + 10
    assert sender.statistics()["exported"] == 0


async def test_a_receiver_that_died_blocks_nobody() -> None:
    record, port = (await retried())[0], free_port()
    dropped: list[int] = []
    with running(*start_oteltap(port)) as receiver:
        read_until(receiver, "Listening")
    sender = SpanSender(
        Tracing(endpoint=f"http://127.0.0.1:{port}"),
        drop=dropped.append,
        fail=dropped.append,
    )
    taken = [sender.offer(record) for _ in range(QUEUE + 10)]
    sender.close(0)

    assert taken == [True] * QUEUE + [False] * 10
    assert sender.statistics()["exported"] == 0
