"""What a redirected connection may not lead to: the proxy itself, and what it must not reach.

A proxy that goes wherever a connection was going reaches whatever its machine reaches.
So outbound goes nowhere on the machine itself, inbound nowhere else, and neither to a
port of the proxy's own, where the next connection would come to the same question.
A service that names an address among its ``addresses`` is asked before any of this.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable

from meshfilters.errors import LoopDetected, Refused
from meshfilters.exchange import Direction
from proxy.config.address import Inet, parse_address

METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254"),
    )
)
"""Where clouds hand out credentials to whoever can ask from this machine."""

EVERYWHERE = ("0.0.0.0", "::")
"""How an address is written that listens on all of the machine's."""


class Own:
    """Where the proxy listens: hosts and ports, by the listener they are of."""

    def __init__(self) -> None:
        self._named: dict[str, set[tuple[str, int]]] = {}
        self.addresses: frozenset[tuple[str, int]] = frozenset()

    def put(self, name: str, addresses: Iterable[object]) -> None:
        """Of a listener, as sockets name them. None forgets it."""
        self._named[name] = {
            (each[0], each[1]) for each in addresses if isinstance(each, tuple)
        }
        self.addresses = frozenset().union(*self._named.values())


class LoopGuard:
    """Says no to original addresses."""

    def __init__(self, own: Own, is_local: Callable[[str], bool] | None = None) -> None:
        self._own = own
        self._is_local = is_local or is_this_machine

    def check(self, direction: Direction, address: str) -> None:
        """Raise LoopDetected or Refused when the address is none to connect to."""
        parsed = parse_address(address)
        assert isinstance(parsed, Inet)
        host, port = parsed.host, parsed.port
        ip = ipaddress.ip_address(host)
        if ip.is_unspecified:
            raise LoopDetected(f"{address} is no address to connect to")
        if direction == "inbound":
            self._check_inbound(host, port, address)
        elif ip.is_loopback:
            raise LoopDetected(f"{address}: outbound does not connect to loopback")
        elif ip in METADATA:
            raise Refused(
                f"{address} hands out credentials: only a service may name it"
            )
        elif self._is_own(host, port):
            raise LoopDetected(f"{address} is the proxy itself")

    def _check_inbound(self, host: str, port: int, address: str) -> None:
        if any(port == each for _, each in self._own.addresses):
            raise LoopDetected(f"{address} is a port of the proxy itself")
        if not self._is_local(host):
            raise Refused(f"{address} is another machine's: inbound does not relay")

    def _is_own(self, host: str, port: int) -> bool:
        own = self._own.addresses
        if (host, port) in own:
            return True
        return any((each, port) in own for each in EVERYWHERE) and self._is_local(host)


def name_of(address: str) -> object:
    """What a socket at an address of the file is named."""
    parsed = parse_address(address)
    return (parsed.host, parsed.port) if isinstance(parsed, Inet) else None


def is_this_machine(host: str) -> bool:
    """Whether an IP address is one of this machine's, by the kernel's routes."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))  # sends nothing
        except OSError:
            return False
        # What goes to an address of its own is sent from it, and to others from another.
        return bool(probe.getsockname()[0] == host)
