"""The kernel tells where a connection was going, in the words of its two families."""

from __future__ import annotations

import errno
import socket
from typing import cast

import attrs
import pytest

from proxy.transport.original import SO_ORIGINAL_DST, original_destination


@attrs.define
class Redirected:
    """A socket as the kernel has it behind a rule that redirects."""

    family: int
    name: tuple[str, int]
    answers: dict[tuple[int, int], bytes]

    def getsockname(self) -> tuple[str, int]:
        return self.name

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert option == SO_ORIGINAL_DST
        try:
            return self.answers[level, size]
        except KeyError:
            raise OSError(errno.ENOENT, "no such connection") from None


def original(sock: Redirected) -> str | None:
    return original_destination(cast(socket.socket, sock))


def v4(port: int, host: str) -> dict[tuple[int, int], bytes]:
    address = b"\2\0" + port.to_bytes(2, "big") + socket.inet_pton(socket.AF_INET, host)
    return {(socket.IPPROTO_IP, 16): address + bytes(8)}


def v6(port: int, host: str) -> dict[tuple[int, int], bytes]:
    packed = socket.inet_pton(socket.AF_INET6, host)
    address = b"\x0a\0" + port.to_bytes(2, "big") + bytes(4) + packed
    return {(socket.IPPROTO_IPV6, 28): address + bytes(4)}


def test_ipv4_is_asked_on_its_level() -> None:
    sock = Redirected(socket.AF_INET, ("127.0.0.1", 4140), v4(8080, "10.0.0.7"))

    assert original(sock) == "10.0.0.7:8080"


def test_ipv6_is_asked_on_its_level() -> None:
    sock = Redirected(socket.AF_INET6, ("::1", 4140), v6(443, "2001:db8::7"))

    assert original(sock) == "[2001:db8::7]:443"


def test_ipv4_on_a_socket_of_both_families_is_ipv4() -> None:
    name = ("::ffff:127.0.0.1", 4140)
    sock = Redirected(socket.AF_INET6, name, v4(65535, "10.0.0.7"))

    assert original(sock) == "10.0.0.7:65535"


def test_a_mapped_address_is_written_as_the_ipv4_address_it_is() -> None:
    sock = Redirected(socket.AF_INET6, ("::1", 4140), v6(80, "::ffff:127.0.0.1"))

    assert original(sock) == "127.0.0.1:80"


def test_a_link_local_name_of_ours_has_an_interface() -> None:
    sock = Redirected(socket.AF_INET6, ("fe80::1%eth0", 4143), v6(80, "fe80::1"))

    assert original(sock) == "[fe80::1]:80"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_what_the_kernel_does_not_track_has_none(family: int) -> None:
    name = "127.0.0.1" if family == socket.AF_INET else "::1"

    assert original(Redirected(family, (name, 4140), {})) is None


def test_a_connection_that_is_not_tcp_has_none() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert original_destination(near) is None
