"""What a proxy shows over TLS, and what its client trusts and shows."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from tests.authority import API, WEB, root


def issue(folder: Path) -> ssl.SSLContext:
    """Write ``api`` for the proxy and ``roots``; returns a client of HTTP/2 alone."""
    authority = root()
    roots = authority.write(folder)
    authority.issue(uris=[API], dns=["app"]).write(folder, "api")
    certificate, key = authority.issue(uris=[WEB]).write(folder, "web")
    context = ssl.create_default_context(cafile=os.fspath(roots))
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    return context
