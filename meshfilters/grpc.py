"""What gRPC writes into HTTP: who speaks it, methods, statuses and deadlines.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. A response's status
stands in its trailers, or in its head if that is all there is (trailers-only). What
has none, an answer of some proxy's, is taken as gRPC clients take it.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from meshfilters.exchange import Outcome
from meshfilters.message import Buffered, Headers, Request, Response

Failure = Literal[
    "cancelled",
    "unknown",
    "invalid-argument",
    "deadline-exceeded",
    "not-found",
    "already-exists",
    "permission-denied",
    "resource-exhausted",
    "failed-precondition",
    "aborted",
    "out-of-range",
    "unimplemented",
    "internal",
    "unavailable",
    "data-loss",
    "unauthenticated",
]
"""The statuses that are no success, as Linkerd spells them, in the order of their codes."""

NAMES: tuple[str, ...] = ("ok", *get_args(Failure))
"""Every status; its place is its code."""
CODES = {name: code for code, name in enumerate(NAMES)}

OK, UNKNOWN, UNIMPLEMENTED, UNAVAILABLE = 0, 2, 12, 14

NEVER = float("inf")

_KIND = b"application/grpc"
_WRITTEN = {b"%d" % code: code for code in range(len(NAMES))}
_IMPLIED = {
    400: 13,
    401: 16,
    403: 7,
    404: 12,
    429: 14,
    431: 13,
    502: 14,
    503: 14,
    504: 14,
}
_METHOD = re.compile(rb"/((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)/([A-Za-z_]\w*)")
_LONGEST = 256

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"n": 1e-9, b"u": 1e-6, b"m": 1e-3, b"S": 1.0, b"M": 60.0, b"H": 3600.0}
_MOST = 99_999_999
_PUSHBACK = re.compile(rb"[0-9]{1,10}")


def is_grpc(request: Request) -> bool:
    """Whether it is gRPC, whatever its messages are encoded in. gRPC-Web is not."""
    kind = request.headers.index.get(b"content-type")
    if kind is None:
        return False
    return kind[:16].lower() == _KIND and kind[16:17] in b"+; \t"


def method_of(target: bytes) -> tuple[str, str] | None:
    """The service, with its package, and the method; None for a path of another form."""
    match = _METHOD.fullmatch(target) if len(target) <= _LONGEST else None
    return None if match is None else (match[1].decode(), match[2].decode())


def status_in(fields: Headers) -> int | None:
    """What a head or trailers have as status; UNKNOWN for a code there is not."""
    written = fields.index.get(b"grpc-status")
    return None if written is None else _WRITTEN.get(written, UNKNOWN)


def implied_by(status: int | None) -> int:
    """What an HTTP status without one of gRPC's means to a client.

    https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
    """
    return UNKNOWN if status is None else _IMPLIED.get(status, UNKNOWN)


def status_of(response: Response) -> int | None:
    """The status of a response without messages, if all of it is here by now.

    None for any other: nothing is waited for, and behind a first message a retry
    would be too late for gRPC's own clients as well.
    """
    end = _end_of(response)
    if end is None:
        return None if response.status == 200 else implied_by(response.status)
    status = status_in(end)
    return implied_by(response.status) if status is None else status


def pushback(response: Response) -> float:
    """Seconds the server asks to wait before another try; NEVER if there is to be none.

    https://github.com/grpc/proposal/blob/master/A6-client-retries.md
    """
    end = _end_of(response)
    told = None if end is None else end.index.get(b"grpc-retry-pushback-ms")
    if told is None:
        return 0.0
    return int(told) / 1000 if _PUSHBACK.fullmatch(told) else NEVER


def _end_of(response: Response) -> Headers | None:
    """The fields with the status, if they are here and no message before them."""
    if b"grpc-status" in response.headers.index:
        return response.headers
    body = response.body
    return body.trailers if isinstance(body, Buffered) and not body.data else None


def ended_with(outcome: Outcome) -> int:
    """The status a gRPC client saw at the end, or makes up for lack of one."""
    if outcome.grpc_status is not None:
        return outcome.grpc_status if outcome.grpc_status < len(NAMES) else UNKNOWN
    if outcome.error is not None:
        return outcome.error.grpc_status
    return implied_by(outcome.status)


def read_timeout(value: bytes) -> float | None:
    """Seconds of a ``grpc-timeout``; None for what is no such value."""
    match = _TIMEOUT.fullmatch(value)
    return None if match is None else int(match[1]) * _SECONDS[match[2]]


def write_timeout(seconds: float) -> bytes:
    """A ``grpc-timeout`` as exact as its eight digits allow, and never longer."""
    for unit, size in _SECONDS.items():
        count = int(seconds / size)
        if count <= _MOST:
            return b"%d%b" % (max(count, 0), unit)
    return b"%dH" % _MOST
