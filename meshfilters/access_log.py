"""One line for each request, when it is over.

Linkerd's fields, so that what reads its access log reads this one. Whatever a client
chose is cut and escaped: it cannot make a second line, or reach a terminal.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import ClassVar, Literal

import attrs

from meshfilters.api import RequestFilter, Service
from meshfilters.env import Env
from meshfilters.exchange import Outcome
from meshfilters.grpc import ended_with, is_grpc
from meshfilters.message import Request, Response
from meshfilters.visible import visible

LINES = logging.getLogger("tulle.access")
"""Takes finished lines at INFO; its handler writes them as they are."""

_MONTHS = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]
_JSON = json.JSONEncoder(separators=(",", ":"))
_TRACE_IDS = (b"x-b3-traceid", b"x-request-id", b"x-amzn-trace-id")


@attrs.frozen
class AccessLog:
    """Write a line for each request when it is over, as JSON or in Apache's format.

    ``apache`` is the Common Log Format, the client's identity in its second place.
    """

    outside: ClassVar = {
        "timeout": "a request that timed out has its line",
        "retry": "a request has one line, not one for each attempt",
    }

    format: Literal["json", "apache"] = "json"

    def build(self, env: Env) -> RequestFilter:
        write = _json if self.format == "json" else _apache
        time = env.time

        def access_log(
            request: Request, inner: Service[Request, Response], /
        ) -> Coroutine[object, object, Response]:
            def log(outcome: Outcome) -> None:
                LINES.info("%s", write(request, outcome, time() - outcome.seconds))

            if LINES.isEnabledFor(logging.INFO):
                request.exchange.on_end(log)
            return inner(request)

        return access_log


def _json(request: Request, outcome: Outcome, began: float) -> str:
    exchange, error = request.exchange, outcome.error
    fields = {
        "client.addr": exchange.connection.client,
        "client.id": _client(request),
        "timestamp": _rfc3339(began),
        "method": visible(request.method, 32),
        "uri": visible(request.target, 2048),
        "version": f"HTTP/{exchange.version}",
        "host": _header(request, b"host", 256),
        "user_agent": _header(request, b"user-agent", 512),
        "trace_id": _trace_id(request),
        "request_bytes": outcome.received,
        "response_bytes": outcome.sent,
        "status": outcome.status,
        "grpc_status": ended_with(outcome) if is_grpc(request) else None,
        "total_ns": round(outcome.seconds * 1e9),
        "processing_ns": round(_processing(request, outcome) * 1e9),
        "attempts": outcome.attempts,
        "error": None if error is None else error.reason,
        "by": None if error is None else error.by,
    }
    return _JSON.encode(fields)


def _apache(request: Request, outcome: Outcome, began: float) -> str:
    line = b"%b %b HTTP/%b" % (
        request.method[:32],
        request.target,
        request.exchange.version.encode(),
    )
    client = _client(request).replace(" ", "\\x20")
    status = "-" if outcome.status is None else outcome.status
    return (
        f"{request.exchange.connection.client} {client} - [{_common(began)}]"
        f' "{visible(_quoted(line), 2048)}" {status} {outcome.sent or "-"}'
    )


def _client(request: Request) -> str:
    peer = request.exchange.peer
    return "-" if peer is None else visible(peer.encode("utf-8", "replace"), 512)


def _header(request: Request, name: bytes, limit: int) -> str:
    return visible(request.headers.get(name, b"") or b"", limit)


def _trace_id(request: Request) -> str:
    context = request.headers.get(b"traceparent", b"") or b""
    if len(context) >= 55:
        return visible(context[3:35], 32)
    for name in _TRACE_IDS:
        if name in request.headers:
            return _header(request, name, 128)
    return ""


def _processing(request: Request, outcome: Outcome) -> float:
    """Seconds up to the response's head in which no upstream was waited for."""
    spent = outcome.seconds if outcome.head is None else outcome.head
    for attempt in request.exchange.attempts:
        over = attempt.head or attempt.ended
        if over is not None:
            spent -= over - attempt.started
    return max(spent, 0.0)


def _rfc3339(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _common(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    month = _MONTHS[moment.month - 1]  # strftime would ask the locale
    return f"{moment:%d}/{month}/{moment:%Y:%H:%M:%S} +0000"


def _quoted(line: bytes) -> bytes:
    return line.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
