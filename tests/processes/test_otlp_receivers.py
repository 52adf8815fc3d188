"""Spans reach receivers that others wrote: rotel (Rust) and oteltap (Rust, Python)."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import rotel

from meshfilters.api import Service, chain
from meshfilters.env import SpanRecord
from meshfilters.message import Request, Response
from meshfilters.testing import Kit
from meshfilters.trace import Trace
from proxy.config.model import Tracing
from proxy.spans import QUEUE, SpanSender

pytestmark = pytest.mark.slow

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WEB = "spiffe://example.org/ns/shop/sa/web"
WAIT = 20

Found = list[dict[str, Any]]
"""Spans in the order they were printed."""


def free_port() -> int:
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        port: int = once.getsockname()[1]
        return port


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        text=True,
    )
    # Reading its output ends when it does, so nothing here can wait for ever.
    watchdog = threading.Timer(WAIT, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """Lines of a process, up to one that has ``wanted``; an error if it ends before."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if wanted in line:
            return lines
    raise AssertionError(f"it ended without {wanted!r}:\n{''.join(lines)}")


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
    sender = SpanSender(tracing, drop=dropped.append)
    for record in records:
        assert sender.offer(record)
    sender.close(WAIT)
    assert not dropped
    return sender.statistics()


def start_oteltap(port: int) -> list[str]:
    return [sys.executable, "-m", "oteltap", "--port", str(port)]


def start_rotel(http: int, grpc: int) -> list[str]:
    assert rotel.__file__ is not None
    return [
        *(str(Path(rotel.__file__).with_name("rotel-agent")), "start"),
        *("--otlp-http-endpoint", f"127.0.0.1:{http}"),
        *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"),
        *("--exporter", "blackhole"),
        *("--debug-log", "traces", "--debug-log-verbosity", "detailed"),
    ]


def parse_oteltap(lines: list[str]) -> Found:
    """One span a line, in OTLP's JSON."""
    return [
        {
            "trace": span["traceId"],
            "id": span["spanId"],
            "parent": span["parentSpanId"],
            "kind": {2: "SERVER", 3: "CLIENT"}[span["kind"]],
            "is_error": span["status"]["code"] == 2,
            "attributes": {
                each["key"]: str(*each["value"].values()) for each in span["attributes"]
            },
        }
        for span in map(json.loads, lines)
    ]


def parse_rotel(lines: list[str]) -> Found:
    """Blocks of text, each begun by ``Span #0``."""
    blocks = re.split(r"^Span #\d+$", "".join(lines), flags=re.MULTILINE)[1:]
    return [
        {
            "trace": facts["Trace ID"],
            "id": facts["ID"],
            "parent": facts["Parent ID"],
            "kind": facts["Kind"].removeprefix("SPAN_KIND_"),
            "is_error": facts["Status code"] == "STATUS_CODE_ERROR",
            "attributes": dict(
                re.findall(r"-> (\S+): \w+\((.*)\)$", block, re.MULTILINE)
            ),
        }
        for block in blocks
        for facts in [dict(re.findall(r"^ +(\w[\w ]*?) *: (.*)$", block, re.MULTILINE))]
    ]


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
            Tracing(endpoint=f"http://127.0.0.1:{port}"), drop=dropped.append
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
        Tracing(endpoint=f"http://127.0.0.1:{port}"), drop=dropped.append
    )
    taken = [sender.offer(record) for _ in range(QUEUE + 10)]
    sender.close(0)

    assert taken == [True] * QUEUE + [False] * 10
    assert sender.statistics()["exported"] == 0
