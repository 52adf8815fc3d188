"""A certificate authority that makes good certificates, and every kind of bad one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

WEB = "spiffe://example.org/ns/shop/sa/web"
API = "spiffe://example.org/ns/shop/sa/api"

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@attrs.frozen
class Issued:
    """A certificate with its chain, and its key."""

    certificate: x509.Certificate
    key: Key
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def chain_pem(self) -> bytes:
        chain = (self.certificate, *self.intermediates)
        return b"".join(each.public_bytes(Encoding.PEM) for each in chain)

    @property
    def key_pem(self) -> bytes:
        form = PrivateFormat.PKCS8
        return self.key.private_bytes(Encoding.PEM, form, NoEncryption())

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write NAME.pem and NAME.key; returns both paths."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.chain_pem)
        key.write_bytes(self.key_pem)
        return certificate, key


@attrs.frozen
class Authority:
    """An issuer: a root of its own, or below another one."""

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def write(self, folder: Path, name: str = "roots") -> Path:
        path = folder / f"{name}.pem"
        path.write_bytes(self.pem)
        return path

    def issue(
        self,
        *,
        uris: Iterable[str] = (),
        dns: Iterable[str] = (),
        common_name: str = "workload",
        starts: float = -60,
        ends: float = 3600,
        usages: Iterable[x509.ObjectIdentifier] = (
            ExtendedKeyUsageOID.SERVER_AUTH,
            ExtendedKeyUsageOID.CLIENT_AUTH,
        ),
        key: Key | None = None,
        extra: Iterable[tuple[x509.ExtensionType, bool]] = (),
    ) -> Issued:
        """A leaf, valid from ``starts`` to ``ends`` seconds from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(each) for each in uris
        ]
        names += [x509.DNSName._init_without_validation(each) for each in dns]
        extensions = [
            *extra,
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.ExtendedKeyUsage(list(usages)), False),
        ]
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        made = _sign(self, common_name, key, starts, ends, extensions)
        return Issued(made, key, self.chain)

    def intermediate(self, *, path_length: int | None = None) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = _for_an_authority(path_length)
        # Not its issuer's name: such a one would not count in the path's length.
        name = f"intermediate {len(self.chain) + 1}"
        made = _sign(self, name, key, -60, 3600, extensions)
        return Authority(made, key, (made, *self.chain))


def root(
    common_name: str = "root", *, starts: float = -60, ends: float = 3600
) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    extensions = _for_an_authority(None)
    made = _sign(None, common_name, key, starts, ends, extensions)
    return Authority(made, key)


def self_signed(*, uris: Iterable[str] = ()) -> Issued:
    """A leaf that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.UniformResourceIdentifier(each) for each in uris]
    extensions = [(x509.SubjectAlternativeName(names), False)]
    made = _sign(None, "self", key, -60, 3600, extensions)
    return Issued(made, key)


def _for_an_authority(path_length: int | None) -> list[tuple[x509.ExtensionType, bool]]:
    # The key's usage is what ssl of Python 3.13 asks for by default.
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            True,
        ),
    ]


def _sign(
    issuer: Authority | None,
    common_name: str,
    key: Key,
    starts: float,
    ends: float,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    )
    now = datetime.now(UTC)
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(seconds=starts))
        .not_valid_after(now + timedelta(seconds=ends))
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            False,
        )
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(signer, SHA256())
