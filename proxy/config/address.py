"""Addresses as the file writes them: ``host:port``, ``[v6]:port``, ``unix:/path``."""

from __future__ import annotations

import ipaddress
import re

import attrs

UNIX_MAX = 107
"""Bytes of ``sun_path`` on Linux, less the NUL."""

_HOST = re.compile(r"(?!-)[A-Za-z0-9_.-]{1,253}")


@attrs.frozen
class Inet:
    """A host and a port. ``host`` has no brackets and may be a name."""

    host: str
    port: int

    @property
    def is_name(self) -> bool:
        """Whether ``host`` must be looked up."""
        return not _is_ip(self.host)


@attrs.frozen
class Unix:
    """A socket in the file system."""

    path: str


def parse_address(text: str) -> Inet | Unix:
    """Read an address. Raises ValueError with a sentence that says what is expected."""
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(
            "expected host:port, [v6]:port or unix:/path; the port is missing"
        )
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(
            f'expected a port from 0 to 65535 behind the colon, not "{port}"'
        )
    if not host:
        raise ValueError(
            f"expected a host before the colon: 0.0.0.0:{port} or [::]:{port}"
        )
    if host.startswith("[") and host.endswith("]"):
        if not _is_ip(host[1:-1]) or ":" not in host:
            raise ValueError("expected an IPv6 address between the brackets")
        return Inet(host[1:-1], int(port))
    if ":" in host:
        raise ValueError("expected brackets around the IPv6 address: [::1]:8080")
    # All digits and dots is an address by its look, and 256.1.1.1 is nobody's name.
    if not _HOST.fullmatch(host) or (
        host.rpartition(".")[2].isdigit() and not _is_ip(host)
    ):
        raise ValueError("expected a host name or an IP address before the colon")
    return Inet(host, int(port))


def parse_original(text: str) -> str:
    """Read an IP address and a port, and write them as a redirected connection has them.

    ``0.0.0.0`` and ``[::]`` stand for every host. Raises ValueError with a sentence.
    """
    address = parse_address(text)
    if not isinstance(address, Inet) or address.is_name:
        raise ValueError("expected an IP address and a port: 10.0.0.7:80, [fd00::7]:80")
    if not address.port:
        raise ValueError("expected a port from 1 to 65535")
    ip = ipaddress.ip_address(address.host)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            return f"[{ip}]:{address.port}"
        ip = ip.ipv4_mapped
    return f"{ip}:{address.port}"


def _unix(path: str) -> Unix:
    if not path or "\0" in path or path.startswith("@"):
        raise ValueError("expected a path behind unix:")
    if len(path.encode()) > UNIX_MAX:
        raise ValueError(
            f"expected a path of at most {UNIX_MAX} bytes: Linux takes no more"
        )
    return Unix(path)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
