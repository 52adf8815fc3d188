"""Every error of the mesh, on one screen.

An error knows whose side failed, the status it suggests, whether bytes may have
reached the upstream, and which filter raised it. It becomes a response in one
place, ``proxy/downstream/respond.py``. Statuses follow Linkerd (errors/respond.rs).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Literal

Side = Literal["downstream", "proxy", "upstream"]

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"(?![ \t])[^\x00-\x08\x0a-\x1f\x7f]*(?<![ \t])")
_OWN = frozenset(
    {
        *(b"connection", b"content-length", b"content-type", b"grpc-message"),
        *(b"grpc-status", b"host", b"keep-alive", b"proxy-connection", b"te"),
        *(b"trailer", b"transfer-encoding", b"tulle-error", b"upgrade"),
    }
)
"""Fields that an answer has of the proxy, or cannot have."""


def _check_field(name: object, value: object) -> None:
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise TypeError(f"header field {name!r}: {value!r} is not bytes")
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError(f"{name!r}: {value!r} is not a header field")
    if name.lower() in _OWN:
        raise ValueError(f"{name!r} is not a filter's: the proxy writes it")


class MeshError(Exception):
    """A request that ends without a response from its service."""

    reason: ClassVar[str] = "internal error"
    """One of a closed set: a metric label and the start of the ``tulle-error`` header."""
    side: ClassVar[Side] = "proxy"
    closes: ClassVar[bool] = True
    """Whether the client's connection is closed behind the answer."""
    grpc_status: ClassVar[int] = 13

    def __init__(
        self,
        detail: str = "",
        *,
        status: int = 0,
        headers: Iterable[tuple[bytes, bytes]] = (),
        sent: bool = False,
        reused: bool = False,
    ) -> None:
        super().__init__(detail or self.reason)
        self.status = status or self.default_status
        self.headers = tuple(headers)
        """What the answer has besides: ``Retry-After``, say."""
        for name, value in self.headers:
            _check_field(name, value)
        self.sent = sent
        """Whether the upstream may have seen any of the request."""
        self.reused = reused
        """Whether it happened on a pooled connection, before any byte of the answer."""
        self.by: str | None = None
        """The filter that raised it, filled in by the runtime."""
        self.reset: int | None = None
        """What an upstream's HTTP/2 stream was reset with: the client's will be, too."""

    default_status: ClassVar[int] = 500


class FilterFailed(MeshError):
    """A filter raised something that is not a MeshError: a bug in that filter."""

    reason = "filter failed"
    closes = False


class Refused(MeshError):
    """A filter said no: the client may not."""

    reason, default_status, grpc_status, closes = "refused", 403, 7, False


class NoRoute(MeshError):
    """No service has the name that was asked for."""

    reason, default_status, grpc_status, closes = "no route", 404, 5, False


class LoopDetected(MeshError):
    """The way leads back to the proxy itself (Linkerd's gateway loop)."""

    reason, default_status, grpc_status = "loop detected", 508, 10


class Overloaded(MeshError):
    """Too much at a time."""

    reason, default_status, grpc_status = "overloaded", 503, 14


class RateLimited(Overloaded):
    """Too much of one client's."""

    reason, default_status, grpc_status, closes = "rate limited", 429, 8, False


class DeadlineExceeded(MeshError):
    """A limit of the exchange ran out; the detail says which."""

    reason, default_status, grpc_status, closes = "timeout", 504, 4, False


class Draining(MeshError):
    """The proxy is ending and its grace is over."""

    reason, default_status, grpc_status = "draining", 503, 14


class DownstreamError(MeshError):
    """The client's side failed."""

    side = "downstream"


class ClientGone(DownstreamError):
    """The client went away; nobody reads an answer. 499 is nginx's number for it."""

    reason, default_status, grpc_status = "client gone", 499, 1


class BadRequest(DownstreamError):
    """The client's bytes are not a request we let through."""

    reason, default_status, grpc_status = "bad request", 400, 3


class UpstreamError(MeshError):
    """The upstream's side failed."""

    reason, side = "upstream error", "upstream"
    default_status, grpc_status = 502, 14


class ConnectFailed(UpstreamError):
    """No connection: nothing was sent."""

    reason = "connect failed"


class ConnectTimeout(ConnectFailed):
    """No connection in time: nothing was sent."""

    reason, default_status, grpc_status = "connect timeout", 504, 4


class NoEndpoints(ConnectFailed):
    """The service has no address to send to (Linkerd's fail-fast)."""

    reason, default_status, grpc_status = "no endpoints", 504, 4


class HandshakeFailed(UpstreamError):
    """TLS with the peer failed, or it proved another name: nothing was sent."""

    reason = "tls handshake failed"


class UpstreamReset(UpstreamError):
    """The upstream ended the connection before its response was whole."""

    reason = "upstream reset"


class AttemptTimeout(UpstreamError):
    """One attempt took longer than the ``attempt`` limit."""

    reason, default_status, grpc_status = "attempt timeout", 504, 4
    closes = False


class UpstreamProtocolError(UpstreamError):
    """The upstream's bytes are not a response we let through."""

    reason = "bad response"


class ConfigError(Exception):
    """A configuration that cannot work. Exit code 2; the message names the place."""


@contextmanager
def mapped(errors: Mapping[type[Exception], type[MeshError]]) -> Iterator[None]:
    """Turn foreign exceptions into ours at a boundary; the original is the cause."""
    try:
        yield
    except tuple(errors) as error:
        fitting = (ours for theirs, ours in errors.items() if isinstance(error, theirs))
        raise next(fitting)(str(error)) from error
