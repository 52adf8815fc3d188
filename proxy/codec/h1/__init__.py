"""HTTP/1.1 heads and bodies, both ways, without I/O.

A ``Reader`` holds what was received and not yet consumed. ``read_request`` and
``read_response`` take a head off it, a decoder takes the body off it; each says when
more bytes are needed, so nothing is parsed before somebody wants it: a client that
pipelines is held back by not being read. Two rules:

1. A framing error is fatal to the connection (RFC 9112, 9.3): the caller answers with
   the error's status, closes, and never looks at the reader again.
2. Heads are written anew from their parts. Hop-by-hop fields never leave this package.
"""

from proxy.codec.h1.framing import Chunked, Decoder, Sized, UntilClose
from proxy.codec.h1.reader import Reader
from proxy.codec.h1.request import RequestHead, read_request
from proxy.codec.h1.response import ResponseHead, read_response
from proxy.codec.h1.wire import HeadLimits, WireError
from proxy.codec.h1.write import (
    CONTINUE,
    UnwritableHead,
    write_chunk,
    write_last_chunk,
    write_request,
    write_response,
)

__all__ = [
    "CONTINUE",
    "Chunked",
    "Decoder",
    "HeadLimits",
    "Reader",
    "RequestHead",
    "ResponseHead",
    "Sized",
    "UntilClose",
    "UnwritableHead",
    "WireError",
    "read_request",
    "read_response",
    "write_chunk",
    "write_last_chunk",
    "write_request",
    "write_response",
]
