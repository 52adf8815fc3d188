"""HTTP/2 without I/O, by libnghttp2 (``ngh2``).

The library is imported with the first connection that speaks HTTP/2: a worker that never
does pays nothing for it.
"""

from __future__ import annotations

from proxy.codec.h1.write import UnwritableHead
from proxy.codec.h2.codec import (
    CANCEL,
    COMPRESSION_ERROR,
    CONNECT_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HTTP_1_1_REQUIRED,
    INTERNAL_ERROR,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    Codec,
    Fields,
    Receiver,
    Role,
    Settings,
    StreamGone,
)
from proxy.codec.h2.fields import (
    HeadError,
    RequestHead,
    ResponseHead,
    read_request,
    read_response,
    read_trailers,
    write_request,
    write_response,
    write_trailers,
)

__all__ = [
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "FLOW_CONTROL_ERROR",
    "FRAME_SIZE_ERROR",
    "HTTP_1_1_REQUIRED",
    "INTERNAL_ERROR",
    "NO_ERROR",
    "PREFACE",
    "PROTOCOL_ERROR",
    "REFUSED_STREAM",
    "STREAM_CLOSED",
    "Codec",
    "Fields",
    "HeadError",
    "Receiver",
    "RequestHead",
    "ResponseHead",
    "Role",
    "Settings",
    "StreamGone",
    "UnwritableHead",
    "make_codec",
    "read_request",
    "read_response",
    "read_trailers",
    "write_request",
    "write_response",
    "write_trailers",
]


def make_codec(role: Role, settings: Settings, receiver: Receiver) -> Codec:
    """One end of a connection that has not begun."""
    from proxy.codec.h2.nghttp2 import Nghttp2Codec

    return Nghttp2Codec(role, settings, receiver)
