"""Where a redirected connection was going before the kernel brought it here.

netfilter keeps the address of each connection it tracks. One that came directly was
going where it came to, and the kernel says so; where it tracks nothing, there is none.
"""

from __future__ import annotations

import socket
import struct

SO_ORIGINAL_DST = 80
"""linux/netfilter_ipv4.h; for IPv6 it has the same number, on another level."""

V4 = struct.Struct("!2xH4s8x")
"""sockaddr_in, and sockaddr_in6: port and address, in the network's order."""
V6 = struct.Struct("!2xH4x16s4x")

MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv4 address begins that is written as an IPv6 one."""


def original_destination(sock: socket.socket) -> str | None:
    """``10.0.0.7:8080`` or ``[::1]:80``; None when nobody knows."""
    try:
        if sock.family == socket.AF_INET6 and not _is_mapped(sock):
            found = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, V6.size)
            return _shown6(*V6.unpack(found))
        if sock.family == socket.AF_UNIX:
            return None
        # An IPv4 connection on a socket of both families is tracked as what it is.
        found = sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, V4.size)
        port, packed = V4.unpack(found)
    except OSError:
        return None
    return f"{socket.inet_ntop(socket.AF_INET, packed)}:{port}"


def _is_mapped(sock: socket.socket) -> bool:
    host = sock.getsockname()[0].partition("%")[0]
    return socket.inet_pton(socket.AF_INET6, host).startswith(MAPPED)


def _shown6(port: int, packed: bytes) -> str:
    if packed.startswith(MAPPED):
        return f"{socket.inet_ntop(socket.AF_INET, packed[12:])}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, packed)}]:{port}"
