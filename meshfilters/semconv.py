"""OpenTelemetry's stable HTTP semantic conventions (1.44), as attributes of spans.

What conventions have no word for is under ``mesh.``. Text of a client's is cut and
escaped; secrets that signed URLs carry are not recorded.
"""

from __future__ import annotations

import re

from meshfilters.errors import ClientGone, MeshError
from meshfilters.exchange import Attempt, Outcome
from meshfilters.grpc import ended_with, is_grpc
from meshfilters.message import Headers, Request
from meshfilters.rpc_semconv import (
    UNNAMED,
    Attributes,
    attempt_status,
    client_fault,
    rpc_attributes,
    server_fault,
)
from meshfilters.visible import visible

__all__ = [
    "Attributes",
    "client_attributes",
    "client_error",
    "server_attributes",
    "server_error",
    "span_name",
]

_METHODS = frozenset(
    {
        *(b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS"),
        *(b"PATCH", b"POST", b"PUT", b"QUERY", b"TRACE"),
    }
)
_SECRETS = re.compile(
    rb"([?&](?:AWSAccessKeyId|Signature|sig|X-Goog-Signature|X-Amz-Signature"
    rb"|X-Amz-Credential|X-Amz-Security-Token)=)[^&]*",
    re.IGNORECASE,
)


def span_name(attributes: Attributes) -> str:
    """A name of low cardinality: the method, ``HTTP`` or ``grpc`` for one nobody knows."""
    method = attributes.get("rpc.method")
    if method is not None:
        return "grpc" if method == UNNAMED else str(method)
    method = attributes["http.request.method"]
    return "HTTP" if method == "_OTHER" else str(method)


def server_attributes(request: Request, outcome: Outcome) -> Attributes:
    """What a server's span says of an exchange."""
    exchange = request.exchange
    connection = exchange.connection
    path, _, query = _SECRETS.sub(rb"\1REDACTED", request.target).partition(b"?")
    scheme = "http" if connection.tls is None else "https"
    found = _common(request, request.headers, scheme)
    found["mesh.direction"] = connection.direction
    found["url.scheme"] = scheme
    found["url.path"] = visible(path, 2048)
    if query:
        found["url.query"] = visible(query, 2048)
    if agent := request.headers.get(b"user-agent"):
        found["user_agent.original"] = visible(agent, 512)
    found |= _peer(connection.client)
    if "network.peer.port" in found:
        found["client.address"] = found["network.peer.address"]
    if exchange.peer is not None:
        found["mesh.client.identity"] = _text(exchange.peer)
    if connection.tls is not None:
        found["mesh.tls"] = connection.tls.version
    if outcome.status is not None:
        found["http.response.status_code"] = outcome.status
    if outcome.attempts > 1:
        found["mesh.retries"] = outcome.attempts - 1
    if outcome.error is not None and outcome.error.by:
        found["mesh.filter.decider"] = outcome.error.by
    for name, seconds in (exchange.timings or {}).items():
        found[f"mesh.filter.{name}.seconds"] = seconds
    if is_grpc(request):
        found |= rpc_attributes(request, ended_with(outcome))
    return found


def client_attributes(
    request: Request, attempt: Attempt, outcome: Outcome
) -> Attributes:
    """What a client's span says of one attempt."""
    scheme = "http" if attempt.identity is None else "https"
    found = _common(request, attempt.headers, scheme)
    host = attempt.headers.get(b"host") or attempt.endpoint.service.encode()
    if request.method == b"CONNECT":
        url = request.target
    else:
        target = b"" if request.target == b"*" else request.target
        url = b"%b://%b%b" % (scheme.encode(), host, target)
    found["url.full"] = visible(_SECRETS.sub(rb"\1REDACTED", url), 4096)
    found["mesh.backend"] = attempt.endpoint.service
    found |= _peer(attempt.endpoint.address)
    if attempt.identity is not None:
        found["mesh.server.identity"] = _text(attempt.identity)
    if attempt.status is not None:
        found["http.response.status_code"] = attempt.status
    if attempt.number > 1:
        found["http.request.resend_count"] = attempt.number - 1
    if is_grpc(request):
        found |= rpc_attributes(request, attempt_status(request, attempt, outcome))
    return found


def server_error(request: Request, outcome: Outcome) -> str | None:
    """``error.type`` of an exchange, or None. A client's going away is no error."""
    if isinstance(outcome.error, ClientGone):
        return None
    is_rpc = outcome.grpc_status is not None or is_grpc(request)
    if outcome.error is None and is_rpc:
        return server_fault(ended_with(outcome))
    return None if outcome.is_success else _kind(outcome.status, outcome.error)


def client_error(request: Request, attempt: Attempt, outcome: Outcome) -> str | None:
    """``error.type`` of an attempt, or None; 4xx is one for who asked."""
    error = attempt.error
    if error is None and attempt.ended is None:
        error = outcome.error
    if isinstance(error, ClientGone):
        return None
    if error is None and is_grpc(request):
        return client_fault(attempt_status(request, attempt, outcome))
    if error is None and (attempt.status is None or attempt.status < 400):
        return None
    return _kind(attempt.status, error)


def _kind(status: int | None, error: MeshError | None) -> str:
    if error is not None:
        return error.reason
    return "_OTHER" if status is None else str(status)


def _common(request: Request, headers: Headers, scheme: str) -> Attributes:
    known = request.method in _METHODS
    found: Attributes = {
        "http.request.method": request.method.decode() if known else "_OTHER",
        "network.protocol.version": request.exchange.version,
    }
    if not known:
        found["http.request.method_original"] = visible(request.method, 32)
    host = headers.get(b"host") or request.destination.encode()
    name, port = _host_and_port(visible(host, 256))
    found["server.address"] = name
    found["server.port"] = port or (443 if scheme == "https" else 80)
    return found


def _peer(address: str) -> Attributes:
    name, port = _host_and_port(address)
    if port:
        return {"network.peer.address": name, "network.peer.port": port}
    found: Attributes = {"network.transport": "unix"}
    if path := address.removeprefix("unix").removeprefix(":"):
        found["network.peer.address"] = path
    return found


def _host_and_port(text: str) -> tuple[str, int]:
    name, colon, port = text.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) <= 5:
        return name.strip("[]"), int(port)
    return text.strip("[]"), 0


def _text(value: str) -> str:
    return visible(value.encode("utf-8", "replace"), 512)
