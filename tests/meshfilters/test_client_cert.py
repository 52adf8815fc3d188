from __future__ import annotations

import pytest

from meshfilters.client_cert import forwarded_client_cert, visible_ascii
from meshfilters.stream import Certificate

WEB = "spiffe://example.org/ns/shop/sa/web"
HASH = "ab" * 32


def certificate(
    subject: str = "CN=web", uris: tuple[str, ...] = (), dns: tuple[str, ...] = ()
) -> Certificate:
    return Certificate("web", uris, dns, subject, HASH)


def test_it_has_the_form_and_the_order_of_envoy() -> None:
    peer = certificate("CN=web,O=Shop", (WEB,), ("web.shop", "web"))

    assert forwarded_client_cert(peer, by="spiffe://example.org/ns/shop/sa/api") == (
        b"By=spiffe://example.org/ns/shop/sa/api;"
        b"Hash=" + HASH.encode() + b";"
        b'Subject="CN=web,O=Shop";'
        b"URI=spiffe://example.org/ns/shop/sa/web;DNS=web.shop;DNS=web"
    )


def test_without_an_identity_of_its_own_it_does_not_say_by_whom() -> None:
    assert forwarded_client_cert(certificate("")) == f'Hash={HASH};Subject=""'.encode()


@pytest.mark.parametrize(
    ("subject", "quoted"),
    [
        (r"CN=a\"b", rb"CN=a\"b"),
        ('CN=x";URI=spiffe://evil', rb"CN=x\";URI=spiffe://evil"),
        (r"CN=a\\", rb"CN=a\\"),
        ("CN=a\\", rb"CN=a\\"),
        (r"CN=a\,b", rb"CN=a\,b"),
        ("CN=a\r\nb", b"CN=a%0D%0Ab"),
    ],
)
def test_a_subject_cannot_end_its_quotes(subject: str, quoted: bytes) -> None:
    value = forwarded_client_cert(certificate(subject))

    assert value == f"Hash={HASH};".encode() + b'Subject="' + quoted + b'"'


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a;URI=spiffe://evil", b'"a;URI=spiffe://evil"'),
        ("a,By=b", b'"a,By=b"'),
        ('a"b', rb'"a\"b"'),
        ("a\\", rb'"a\\"'),
        ("a\nb", b'"a%0Ab"'),
    ],
)
def test_a_name_cannot_look_like_another_pair(name: str, written: bytes) -> None:
    value = forwarded_client_cert(certificate(dns=(name,)))

    assert value == f'Hash={HASH};Subject="CN=web";DNS='.encode() + written


def test_what_is_not_visible_ascii_is_percent_encoded() -> None:
    assert visible_ascii("CN=caf\u00e9\x7f 100%") == b"CN=caf%C3%A9%7F 100%"
