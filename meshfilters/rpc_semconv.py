"""OpenTelemetry's RPC semantic conventions (1.45), for exchanges that are gRPC.

They add to those of HTTP and name the span. A method that is no method's name, or that
the server does not know, is ``_OTHER``: names are to be few, and a client may ask for
anything.
"""

from __future__ import annotations

from meshfilters.exchange import Attempt, Outcome
from meshfilters.grpc import (
    NAMES,
    OK,
    UNIMPLEMENTED,
    ended_with,
    implied_by,
    method_of,
)
from meshfilters.message import Request
from meshfilters.visible import visible

Attributes = dict[str, str | int | float | bool]

UNNAMED = "_OTHER"

_WORDS = tuple(name.upper().replace("-", "_") for name in NAMES)
_SERVER_FAULTS = frozenset({2, 4, 12, 13, 14, 15})


def rpc_attributes(request: Request, status: int) -> Attributes:
    """What a span of either kind says of a call that ended with ``status``."""
    named = method_of(request.target)
    found: Attributes = {
        "rpc.system.name": "grpc",
        "rpc.method": UNNAMED,
        "rpc.response.status_code": _WORDS[status],
    }
    if named is not None and status != UNIMPLEMENTED:
        found["rpc.method"] = "/".join(named)
    else:
        found["rpc.method_original"] = visible(request.target[1:], 256)
    return found


def server_fault(status: int) -> str | None:
    """``error.type`` of a server's span; a client's mistakes are none of the server's."""
    return _WORDS[status] if status in _SERVER_FAULTS else None


def client_fault(status: int) -> str | None:
    """``error.type`` of a client's span."""
    return _WORDS[status] if status != OK else None


def attempt_status(request: Request, attempt: Attempt, outcome: Outcome) -> int:
    """The status that one of an exchange's attempts ended with."""
    if attempt.grpc_status is not None:
        return attempt.grpc_status
    if attempt.error is not None:
        return attempt.error.grpc_status
    is_last = attempt is request.exchange.attempts[-1]
    if is_last and attempt.status in (None, outcome.status):
        return ended_with(outcome)
    return implied_by(attempt.status)
