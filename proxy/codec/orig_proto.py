"""How an HTTP/1 request travels between two sidecars as HTTP/2, and comes out as it was.

As Linkerd's ``l5d-orig-proto``: the sending sidecar says which version the client spoke,
the receiving one takes the field off and serves the request as one of that version. It is
honoured on connections alone that were negotiated as ``MESH`` by TLS's ALPN, which no
application does, and dropped everywhere else.
"""

from __future__ import annotations

MESH = "tulle/1"
"""The ALPN name of HTTP/2 between two sidecars of Tulle."""

ORIG_PROTO = b"tulle-orig-proto"

VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}
"""What the field may say, and the exchange's version that it stands for."""

TOLD = {version: field for field, version in VERSIONS.items()}
