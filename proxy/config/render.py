"""The file that a command line without a file stands for."""

from __future__ import annotations

import yaml

from proxy.config.address import Inet, parse_address


def default_config(
    listen: str, to: str, admin: str | None = None, workers: int = 1
) -> str:
    """Return YAML: one listener with the default chain, one service.

    ``to`` is ``http://host:port``, ``tcp://host:port`` or a bare address, which means
    HTTP. Raises ValueError with what is wrong with ``to``.
    """
    protocol, address = _target(to)
    document: dict[str, object] = {"version": 1, "workers": workers}
    if admin is not None:
        document["admin"] = admin
    listener = {"address": listen, "protocol": protocol, "to": "upstream"}
    document["listeners"] = {"proxy": listener}
    document["services"] = {"upstream": {"endpoints": [address]}}
    return yaml.safe_dump(document, sort_keys=False)


def _target(to: str) -> tuple[str, str]:
    scheme, separator, rest = to.rpartition("://")
    if scheme == "https":
        raise ValueError("TLS to the upstream needs a file with a dial filter: tls")
    if scheme not in ("http", "tcp", ""):
        raise ValueError(f"expected http:// or tcp://, not {scheme}://")
    address = rest.removesuffix("/") if separator else rest
    if "/" in address and not address.startswith("unix:"):
        raise ValueError("expected an address without a path: the request has its own")
    parsed = parse_address(address)
    if isinstance(parsed, Inet) and parsed.port == 0:
        raise ValueError("expected a port from 1 to 65535")
    return "tcp" if scheme == "tcp" else "http1", address
