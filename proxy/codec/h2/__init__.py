"""HTTP/2 without I/O: ``ngh2`` (libnghttp2) where it is installed, ``h2`` otherwise.

``TULLE_HTTP2`` names one of the two. Either is imported with the first connection that
speaks HTTP/2: a worker that never does pays for neither.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

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
    HeadBounds,
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
)
from proxy.codec.h2.write import write_request, write_response, write_trailers

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
    "HeadBounds",
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

CHOICE = "TULLE_HTTP2"
"""The environment variable that names the library."""


def make_codec(role: Role, settings: Settings, receiver: Receiver) -> Codec:
    """One end of a connection that has not begun."""
    if library() == "h2":
        from proxy.codec.h2.hyper import HyperCodec

        return HyperCodec(role, settings, receiver)
    from proxy.codec.h2.nghttp2 import Nghttp2Codec

    return Nghttp2Codec(role, settings, receiver)


def library() -> str:
    """Which library is used: ``ngh2`` or ``h2``."""
    chosen = os.environ.get(CHOICE)
    if chosen in ("ngh2", "h2"):
        return chosen
    return "ngh2" if find_spec("ngh2") is not None else "h2"
