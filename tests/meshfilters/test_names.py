from __future__ import annotations

import pytest

from meshfilters.names import is_host, is_spiffe_id, proves
from meshfilters.stream import Certificate
from tests.authority import API


def certificate(*dns: str, uris: tuple[str, ...] = ()) -> Certificate:
    return Certificate("x", uris, dns, "CN=x", "00")


@pytest.mark.parametrize(
    "name",
    [
        API,
        "spiffe://example.org",
        "spiffe://a.b-c_d/Path.with-all_1",
        "spiffe://td/...",
    ],
)
def test_a_spiffe_id_is(name: str) -> None:
    assert is_spiffe_id(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "spiffe://",
        "spiffe:///path",
        "spiffe://Example.org/x",
        "SPIFFE://example.org/x",
        "spiffe://example.org/",
        "spiffe://example.org//x",
        "spiffe://example.org/x/",
        "spiffe://example.org/./x",
        "spiffe://example.org/x/..",
        "spiffe://user@example.org/x",
        "spiffe://example.org:80/x",
        "spiffe://example.org/x?y",
        "spiffe://example.org/x#y",
        "spiffe://example.org/%41",
        "spiffe://example.org/a\n",
        "spiffe://example.org/ä",
        "spiffe://example.org/" + "x" * 2048,
        "https://example.org/x",
    ],
)
def test_no_spiffe_id_is(name: str) -> None:
    assert not is_spiffe_id(name)


@pytest.mark.parametrize("name", ["a", "api.test", "API.Test", "a-b.c_d.e1", "1.test"])
def test_a_host_is(name: str) -> None:
    assert is_host(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*.test",
        "api.test.",
        ".test",
        "a..b",
        "10.0.0.1",
        "::1",
        "a b",
        "a\0b",
        "x" * 64,
        "a." * 127 + "abc",
        "host:80",
    ],
)
def test_no_host_is(name: str) -> None:
    assert not is_host(name)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["api.test"], "api.test"),
        (["API.test"], "api.TEST"),
        (["other.test", "api.test"], "api.test"),
        (["*.api.test"], "v1.api.test"),
    ],
)
def test_a_dns_name_is_proven(names: list[str], wanted: str) -> None:
    assert proves(certificate(*names), wanted)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ([], "api.test"),
        (["api.test."], "api.test"),
        (["*.test"], "test"),
        (["*.test"], "v1.api.test"),
        (["*"], "test"),
        (["*.test"], "a.test"),
        (["v*.api.test"], "v1.api.test"),
        (["*.*.test"], "v1.api.test"),
        (["v1.*.test"], "v1.api.test"),
        (["api.test.evil.test"], "api.test"),
    ],
)
def test_a_dns_name_is_not_proven(names: list[str], wanted: str) -> None:
    assert not proves(certificate(*names), wanted)


def test_a_spiffe_id_is_proven_byte_for_byte() -> None:
    assert proves(certificate(uris=(API,)), API)
    assert not proves(certificate(uris=(API,)), API.upper())
    assert not proves(certificate(uris=(API,)), API[:-1])
    assert not proves(certificate(uris=(API,)), f"{API}/")
    assert not proves(certificate(API), API)
