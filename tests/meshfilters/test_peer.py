from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from meshfilters.peer import facts
from tests.authority import API, root

ROOT = root()


def test_a_spiffe_id_comes_first() -> None:
    found = facts(ROOT.issue(dns=["api.test"], uris=[API]).certificate)

    assert found.identity == API
    assert found.uris == (API,)
    assert found.dns == ("api.test",)
    assert found.subject == "CN=workload"


def test_then_a_dns_name_that_is_no_wildcard() -> None:
    issued = ROOT.issue(dns=["*.api.test", "api.test", "b.test"], uris=["urn:x"])

    assert facts(issued.certificate).identity == "api.test"


def test_then_the_subject() -> None:
    assert facts(ROOT.issue(dns=["*.api.test"]).certificate).identity == "CN=workload"
    assert facts(ROOT.issue(common_name="Köln\n").certificate).identity == (
        r"CN=K\C3\B6ln\0A"
    )


def test_the_digest_is_that_of_the_certificate() -> None:
    certificate = ROOT.issue(uris=[API]).certificate

    assert facts(certificate).sha256 == certificate.fingerprint(SHA256()).hex()


@pytest.mark.parametrize(
    ("uris", "dns", "said"),
    [
        ([API], ["api.test\0.evil"], "characters that no name has"),
        ([API], ["api test"], "characters that no name has"),
        (["urn:x\r\ny"], [], "characters that no name has"),
        ([API], [""], "characters that no name has"),
        ([API, "urn:x"], [], "more than one URI"),
        ([API, API], [], "more than one URI"),
        (["spiffe://Example.org/x"], [], "is no SPIFFE ID"),
        (["SPIFFE://example.org/x"], ["api.test"], "is no SPIFFE ID"),
    ],
)
def test_a_certificate_two_could_read_differently_proves_nothing(
    uris: list[str], dns: list[str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        facts(ROOT.issue(uris=uris, dns=dns).certificate)


def test_a_name_beyond_ascii_proves_nothing() -> None:
    raw = b"\x30\x06\x82\x04\xc3\xbcber"[:8]
    broken = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, raw)

    with pytest.raises(ValueError, match=r".+"):
        facts(ROOT.issue(extra=[(broken, False)]).certificate)


def test_a_name_of_an_unknown_kind_proves_nothing() -> None:
    party = x509.UnrecognizedExtension(
        x509.SubjectAlternativeName.oid, b"\x30\x02\xa5\x00"
    )

    with pytest.raises(ValueError, match=r".+"):
        facts(ROOT.issue(extra=[(party, False)]).certificate)


def test_a_certificate_without_a_name_proves_nothing() -> None:
    with pytest.raises(ValueError, match="names nobody"):
        facts(ROOT.issue(common_name="").certificate)
