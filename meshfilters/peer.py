"""What a peer's certificate says of it.

The chain has been verified by then; this is about names alone. A certificate that two
readers could read differently proves nothing: NUL and other control characters, spaces,
anything beyond ASCII, a malformed SPIFFE ID or two of them are refused whole (Envoy's
CVE-2026-47778 came of a NUL).
"""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from meshfilters.names import SPIFFE, is_host, is_spiffe_id
from meshfilters.stream import Certificate

_PRINTABLE = re.compile(r"[!-~]+")


def facts(certificate: x509.Certificate) -> Certificate:
    """What ``certificate`` says of its holder; ValueError says why it is refused."""
    uris, dns = _alternative_names(certificate)
    for name in (*uris, *dns):
        if _PRINTABLE.fullmatch(name) is None:
            raise ValueError(f"the name {name!r} has characters that no name has")
    if len(uris) > 1 and any(map(_claims_spiffe, uris)):
        raise ValueError("more than one URI beside a SPIFFE ID")
    for uri in filter(_claims_spiffe, uris):
        if not is_spiffe_id(uri):
            raise ValueError(f"{uri} is no SPIFFE ID")
    subject = _escaped(certificate.subject.rfc4514_string())
    names = (*filter(_claims_spiffe, uris), *filter(is_host, dns), subject)
    if not names[0]:
        raise ValueError("it names nobody")
    digest = certificate.fingerprint(hashes.SHA256()).hex()
    return Certificate(names[0], uris, dns, subject, digest)


def _alternative_names(
    certificate: x509.Certificate,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        found = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        return (), ()
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from error
    uris = found.get_values_for_type(x509.UniformResourceIdentifier)
    return tuple(uris), tuple(found.get_values_for_type(x509.DNSName))


def _claims_spiffe(uri: str) -> bool:
    return uri.lower().startswith(SPIFFE)


def _escaped(subject: str) -> str:
    # RFC 4514 lets any byte be written as \XX: the subject goes into headers and logs.
    return "".join(
        each
        if " " <= each <= "~"
        else "".join(f"\\{byte:02X}" for byte in each.encode("utf-8", "replace"))
        for each in subject
    )
