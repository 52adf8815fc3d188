from __future__ import annotations

import json
import logging
import re
from typing import Literal

import pytest

from meshfilters.access_log import AccessLog
from meshfilters.api import chain
from meshfilters.errors import MeshError, UpstreamReset
from meshfilters.message import Outcome, Request, Response
from meshfilters.testing import Kit, check_filter

HOSTILE = b'/a\r\nb\x1b[2Jc\x7fd\xc2\x9be\xe2\x80\xa8f\xff"g\\h'
Format = Literal["json", "apache"]


@pytest.fixture(autouse=True)
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "tulle.access")
    return caplog


async def line_of(kit: Kit, request: Request, format: Format = "json") -> Request:
    """Let the request through a log of that format; its end writes the line."""
    upstream = kit.script(Response(200))
    await chain([AccessLog(format).build(kit.env)], upstream)(request)
    return request


async def test_a_json_line_has_linkerds_fields(lines: pytest.LogCaptureFixture) -> None:
    kit = Kit("access_log")
    headers = [
        (b"Host", b"web.shop"),
        (b"User-Agent", b"curl/8"),
        (b"X-Request-Id", b"r-1"),
    ]
    request = kit.ask(b"POST", b"/cart?id=7", headers=headers, peer="spiffe://x/web")
    await line_of(kit, request)
    kit.advance(1.5)
    kit.end(request, 201, received=10, sent=20)

    assert lines.records[0].name == "tulle.access"
    assert json.loads(lines.messages[0]) == {
        "client.addr": "192.0.2.1:1234",
        "client.id": "spiffe://x/web",
        "timestamp": "2023-11-14T22:13:20.000000Z",
        "method": "POST",
        "uri": "/cart?id=7",
        "version": "HTTP/1.1",
        "host": "web.shop",
        "user_agent": "curl/8",
        "trace_id": "r-1",
        "request_bytes": 10,
        "response_bytes": 20,
        "status": 201,
        "grpc_status": None,
        "total_ns": 1_500_000_000,
        "processing_ns": 1_500_000_000,
        "attempts": 1,
        "error": None,
        "by": None,
    }


async def test_a_failure_says_what_and_which_filter(
    lines: pytest.LogCaptureFixture,
) -> None:
    kit = Kit("access_log")
    request = await line_of(kit, kit.ask())
    error = UpstreamReset("the detail is not for this log")
    error.by = "retry"
    kit.end(request, None, error)

    line = json.loads(lines.messages[0])
    assert (line["status"], line["error"], line["by"]) == (
        None,
        "upstream reset",
        "retry",
    )


@pytest.mark.parametrize(
    ("told", "error", "status"),
    [(0, None, 0), (14, None, 14), (None, None, 2), (None, UpstreamReset(), 14)],
)
async def test_a_call_has_its_grpc_status(
    told: int | None,
    error: MeshError | None,
    status: int,
    lines: pytest.LogCaptureFixture,
) -> None:
    kit = Kit("access_log")
    headers = [(b"Content-Type", b"application/grpc+proto")]
    request = await line_of(kit, kit.ask(b"POST", b"/shop.Cart/Add", headers=headers))
    kit.end(request, 200, error, grpc_status=told)

    assert json.loads(lines.messages[0])["grpc_status"] == status


async def test_an_apache_line_is_the_common_log_format(
    lines: pytest.LogCaptureFixture,
) -> None:
    kit = Kit("access_log")
    request = await line_of(kit, kit.ask(peer="CN=a b"), "apache")
    kit.end(request, sent=20)

    assert lines.messages == [
        r"192.0.2.1:1234 CN=a\x20b - [14/Nov/2023:22:13:20 +0000]"
        ' "GET / HTTP/1.1" 200 20'
    ]


async def test_an_apache_line_has_a_dash_for_what_there_is_not(
    lines: pytest.LogCaptureFixture,
) -> None:
    kit = Kit("access_log")
    request = await line_of(kit, kit.ask(), "apache")
    kit.end(request, None)

    assert lines.messages == [
        '192.0.2.1:1234 - - [14/Nov/2023:22:13:20 +0000] "GET / HTTP/1.1" - -'
    ]


@pytest.mark.parametrize("format", ["json", "apache"])
async def test_nothing_a_client_sends_makes_a_second_line(
    format: Format, lines: pytest.LogCaptureFixture
) -> None:
    kit = Kit("access_log")
    names = (b"host", b"user-agent", b"x-request-id")
    request = kit.ask(
        HOSTILE,
        HOSTILE,
        headers=[(name, HOSTILE) for name in names],
        peer=HOSTILE.decode("latin-1"),
    )
    kit.end(await line_of(kit, request, format))

    assert len(lines.messages) == 1
    assert lines.messages[0].isprintable()
    assert len(lines.messages[0].splitlines()) == 1


async def test_a_hostile_json_line_is_json_still(
    lines: pytest.LogCaptureFixture,
) -> None:
    kit = Kit("access_log")
    kit.end(await line_of(kit, kit.ask(target=HOSTILE)))

    assert json.loads(lines.messages[0])["uri"] == (
        r"/a\r\nb\x1b[2Jc\x7fd\x9be\u2028f\xff" + '"g\\h'
    )


async def test_a_client_cannot_end_the_quotes_of_an_apache_line(
    lines: pytest.LogCaptureFixture,
) -> None:
    kit = Kit("access_log")
    kit.end(await line_of(kit, kit.ask(target=b'/x\\" 500 1 "'), "apache"))

    found = re.search(r' "((?:[^"\\]|\\.)*)" (\S+) (\S+)$', lines.messages[0])
    assert found is not None
    assert found.groups() == (r"GET /x\\\" 500 1 \" HTTP/1.1", "200", "-")


@pytest.mark.parametrize("format", ["json", "apache"])
async def test_a_line_is_of_bounded_length(
    format: Format, lines: pytest.LogCaptureFixture
) -> None:
    kit = Kit("access_log")
    long = b"\xff" * 60_000
    names = (b"host", b"user-agent", b"x-request-id")
    request = kit.ask(long, long, headers=[(name, long) for name in names])
    kit.end(await line_of(kit, request, format))

    assert len(lines.messages[0]) < 20_000


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        ((b"traceparent", b"00-" + b"ab" * 16 + b"-" + b"12" * 8 + b"-01"), "ab" * 16),
        ((b"X-B3-TraceId", b"463ac35c9f6413ad"), "463ac35c9f6413ad"),
        ((b"x-amzn-trace-id", b"Root=1"), "Root=1"),
        ((b"traceparent", b"00"), ""),
    ],
)
async def test_the_trace_is_named(
    header: tuple[bytes, bytes], trace_id: str, lines: pytest.LogCaptureFixture
) -> None:
    kit = Kit("access_log")
    kit.end(await line_of(kit, kit.ask(headers=[header])))

    assert json.loads(lines.messages[0])["trace_id"] == trace_id


async def test_time_the_upstream_took_is_not_the_proxys(
    lines: pytest.LogCaptureFixture,
) -> None:
    kit = Kit("access_log")
    request = kit.ask()

    async def upstream(request: Request, /) -> Response:
        for seconds in (1.0, 2.0):
            kit.advance(0.25)
            attempt = kit.attempt(request)
            kit.advance(seconds)
            attempt.ended = kit.now
        kit.attempt(request)
        return Response(200)

    await chain([AccessLog().build(kit.env)], upstream)(request)
    kit.end(request)

    line = json.loads(lines.messages[0])
    assert line["total_ns"] == 3_500_000_000
    assert line["processing_ns"] == 500_000_000
    assert line["attempts"] == 3


async def test_a_log_nobody_reads_costs_no_callback(
    lines: pytest.LogCaptureFixture,
) -> None:
    lines.set_level(logging.WARNING, "tulle.access")
    kit = Kit("access_log")
    request = await line_of(kit, kit.ask())
    outcome: Outcome = kit.end(request)

    assert outcome.status == 200
    assert not lines.messages


async def test_it_does_what_every_filter_must_do() -> None:
    await check_filter(AccessLog().build)
