"""Original addresses that lead back to the proxy, or where nobody may go, are refused."""

from __future__ import annotations

import pytest

from meshfilters.errors import LoopDetected, MeshError, Refused
from meshfilters.exchange import Direction
from proxy.upstream.loops import LoopGuard, Own, is_this_machine, name_of

OWN = Own()
OWN.put("in", [("0.0.0.0", 4143), ("::", 4144, 0, 0)])
OWN.put("out", [("127.0.0.1", 4140), ("192.0.2.5", 9000), "/run/a.sock", None])


def is_local(host: str) -> bool:
    return host in ("10.0.0.5", "192.0.2.5", "2001:db8::5")


def verdict(direction: Direction, address: str) -> type[MeshError] | None:
    try:
        LoopGuard(OWN, is_local).check(direction, address)
    except MeshError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("10.0.0.7:8080", None),
        ("[2001:db8::7]:443", None),
        ("10.0.0.5:8080", None),
        ("127.0.0.1:8080", LoopDetected),
        ("127.9.9.9:80", LoopDetected),
        ("[::1]:80", LoopDetected),
        ("0.0.0.0:80", LoopDetected),
        ("[::]:80", LoopDetected),
        ("192.0.2.5:9000", LoopDetected),
        ("10.0.0.5:4143", LoopDetected),
        ("[2001:db8::5]:4144", LoopDetected),
        # Another machine's proxy has the same port, and is no loop.
        ("10.0.0.7:4143", None),
        ("169.254.169.254:80", Refused),
        ("[fd00:ec2::254]:80", Refused),
        ("169.254.1.1:80", None),
    ],
)
def test_outbound_goes_to_others(address: str, wanted: type[MeshError] | None) -> None:
    assert verdict("outbound", address) is wanted


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("10.0.0.5:8080", None),
        ("[2001:db8::5]:80", None),
        ("10.0.0.5:4140", LoopDetected),
        ("10.0.0.5:4143", LoopDetected),
        ("0.0.0.0:80", LoopDetected),
        ("10.0.0.7:8080", Refused),
        ("169.254.169.254:80", Refused),
    ],
)
def test_inbound_goes_to_this_machine(
    address: str, wanted: type[MeshError] | None
) -> None:
    assert verdict("inbound", address) is wanted


def test_where_the_proxy_listens_may_change() -> None:
    own = Own()
    guard = LoopGuard(own, is_local)
    guard.check("outbound", "10.0.0.5:4143")
    own.put("in", [("::", 4143, 0, 0)])
    with pytest.raises(LoopDetected, match=r"10\.0\.0\.5:4143 is the proxy itself"):
        guard.check("outbound", "10.0.0.5:4143")
    own.put("in", [])

    guard.check("outbound", "10.0.0.5:4143")


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("127.0.0.1", True),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("255.255.255.255", False),
    ],
)
def test_the_kernel_knows_what_is_this_machines(host: str, wanted: bool) -> None:
    assert is_this_machine(host) is wanted
    assert LoopGuard(Own())._is_local is is_this_machine


def test_an_address_of_the_file_is_named_as_a_socket_is() -> None:
    assert name_of("[::1]:4191") == ("::1", 4191)
    assert name_of("unix:/run/admin.sock") is None
