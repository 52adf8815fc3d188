"""The one place where an error becomes a response.

Statuses are the errors' own (Linkerd's table). Every answer of ours says why and by
which filter in ``tulle-error: REASON; by=FILTER``, and in one line of text.
"""

from __future__ import annotations

from meshfilters.errors import MeshError
from meshfilters.grpc import is_grpc
from meshfilters.message import Buffered, Headers, Request, Response
from proxy.chain.pipeline import PROXY

_SHOWN = 200
"""Characters of an error's detail that a client is shown."""


def error_response(error: MeshError, request: Request | None) -> Response:
    """What a client is told of ``error``; gRPC clients in their own way."""
    by, told = error.by or PROXY, _told(error)
    if request is not None and is_grpc(request):
        end = grpc_trailers(error)
        kind = (b"content-type", b"application/grpc")
        return Response(200, Headers([kind, *error.headers, *end]))
    detail = _one_line(str(error))
    text = error.reason if detail == error.reason else f"{error.reason}: {detail}"
    body = f"{text} (by {by})\n".encode()
    headers = Headers(
        [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            *error.headers,
            (b"tulle-error", told),
        ]
    )
    return Response(error.status, headers, Buffered(body))


def _told(error: MeshError) -> bytes:
    return f"{error.reason}; by={error.by or PROXY}".encode("latin-1", "replace")


def grpc_trailers(error: MeshError) -> Headers:
    """What ends a gRPC answer; its message is percent-encoded (gRPC over HTTP/2)."""
    message = "".join(
        each if " " <= each <= "~" and each != "%" else _percent(each)
        for each in _one_line(str(error))
    )
    return Headers(
        [
            (b"grpc-status", b"%d" % error.grpc_status),
            (b"grpc-message", message.encode()),
            (b"tulle-error", _told(error)),
        ]
    )


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def _one_line(detail: str) -> str:
    return "".join(c if c.isprintable() else " " for c in detail[:_SHOWN])
