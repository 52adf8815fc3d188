from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from meshfilters.certificates import Files
from tulle.demo.authority import LIFE, Authority

API = "spiffe://demo.tulle/ns/demo/sa/api"


@pytest.fixture
def issued(tmp_path: Path) -> Path:
    authority = Authority.create()
    authority.write_root(tmp_path / "roots.pem")
    authority.issue(API, tmp_path, "api")
    return tmp_path


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_workload_proves_its_identity_to_who_trusts_the_root(issued: Path) -> None:
    # The judge is cryptography's own, stricter than OpenSSL: RFC 5280 to the letter.
    verifier = PolicyBuilder().store(Store([read(issued / "roots.pem")]))

    client = verifier.build_client_verifier().verify(read(issued / "api.pem"), [])

    assert client.subjects == [x509.UniformResourceIdentifier(API)]


def test_the_sidecar_finds_nothing_wrong_with_the_files(issued: Path) -> None:
    files = Files(issued / "api.pem", issued / "api.key", issued / "roots.pem")

    assert list(files.problems(datetime.now(UTC).timestamp())) == []


def test_nobody_else_can_read_the_key(issued: Path) -> None:
    assert (issued / "api.key").stat().st_mode & 0o777 == 0o600


def test_a_certificate_does_not_live_long(issued: Path) -> None:
    end = read(issued / "api.pem").not_valid_after_utc

    assert end <= datetime.now(UTC) + LIFE


def test_two_demos_do_not_trust_each_other() -> None:
    one, other = Authority.create(), Authority.create()

    assert one.certificate != other.certificate
