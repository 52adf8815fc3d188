from __future__ import annotations

import pytest

from proxy.config.address import Inet, Unix, parse_address, parse_original


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Inet("127.0.0.1", 8080)),
        ("[::1]:8080", Inet("::1", 8080)),
        ("[fe80::1%eth0]:1", Inet("fe80::1%eth0", 1)),
        ("reviews-v2.local:80", Inet("reviews-v2.local", 80)),
        ("web1:0", Inet("web1", 0)),
        ("unix:/run/app.sock", Unix("/run/app.sock")),
        ("unix:" + "p" * 107, Unix("p" * 107)),
    ],
)
def test_addresses_that_are_right(text: str, address: Inet | Unix) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "the port is missing"),
        ("localhost", "the port is missing"),
        ("localhost:http", "a port from 0 to 65535"),
        ("localhost:65536", "a port from 0 to 65535"),
        ("localhost:", "a port from 0 to 65535"),
        ("localhost:²", "a port from 0 to 65535"),
        (":80", "0.0.0.0:80 or \\[::\\]:80"),
        ("::1:80", "brackets around the IPv6 address"),
        ("[127.0.0.1]:80", "an IPv6 address between the brackets"),
        ("[nobody]:80", "an IPv6 address between the brackets"),
        ("256.0.0.1:80", "a host name or an IP address"),
        ("a b:80", "a host name or an IP address"),
        ("-x:80", "a host name or an IP address"),
        ("unix:", "a path behind unix:"),
        ("unix:@abstract", "a path behind unix:"),
        ("unix:" + "p" * 108, "at most 107 bytes"),
        ("unix:" + "é" * 54, "at most 107 bytes"),
    ],
)
def test_addresses_that_are_wrong_say_what_is_expected(text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        parse_address(text)


def test_a_host_that_must_be_looked_up_is_known_from_one_that_need_not() -> None:
    assert Inet("localhost", 80).is_name
    assert not Inet("::1", 80).is_name


@pytest.mark.parametrize(
    ("text", "original"),
    [
        ("10.0.0.7:080", "10.0.0.7:80"),
        ("[FD00:0::07]:80", "[fd00::7]:80"),
        ("[::ffff:10.0.0.7]:80", "10.0.0.7:80"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[::]:80", "[::]:80"),
    ],
)
def test_original_addresses_are_written_as_the_kernel_has_them(
    text: str, original: str
) -> None:
    assert parse_original(text) == original


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("app.local:80", "an IP address and a port"),
        ("unix:/run/app.sock", "an IP address and a port"),
        ("10.0.0.7:0", "a port from 1 to 65535"),
        ("10.0.0.7", "the port is missing"),
    ],
)
def test_nobody_is_redirected_from_a_name(text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        parse_original(text)
