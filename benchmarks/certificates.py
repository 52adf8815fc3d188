"""Certificates for a run: one root, a server, a client."""

from __future__ import annotations

from pathlib import Path

import trustme


def write(folder: Path) -> None:
    """Write roots.pem, and NAME.pem, NAME.key and both in one for server and client."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "roots.pem")
    for name in ("server", "client"):
        issued = authority.issue_cert(f"{name}.example.org")
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        key = issued.private_key_pem.bytes()
        (folder / f"{name}.pem").write_bytes(chain)
        (folder / f"{name}.key").write_bytes(key)
        (folder / f"{name}.both.pem").write_bytes(chain + key)
