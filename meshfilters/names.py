"""Names of workloads and hosts: what one looks like, and whether it is the wanted one."""

from __future__ import annotations

import re

from meshfilters.stream import Certificate

SPIFFE = "spiffe://"

_SPIFFE_ID = re.compile(
    r"spiffe://(?P<domain>[a-z0-9._-]{1,255})(?P<path>(/[A-Za-z0-9._-]+)*)"
)
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*")

LONGEST_SPIFFE_ID = 2048
"""Bytes, as the SPIFFE ID standard has it (section 2.3)."""


def is_spiffe_id(name: str) -> bool:
    """Whether ``name`` is a SPIFFE ID as its standard writes one."""
    match = _SPIFFE_ID.fullmatch(name)
    if match is None or len(name) > LONGEST_SPIFFE_ID:
        return False
    return not {".", ".."} & set(match["path"].split("/"))


def is_host(name: str) -> bool:
    """Whether ``name`` can be a DNS name: no wildcard, no trailing dot, no address."""
    if len(name) > 253 or _HOST.fullmatch(name) is None:
        return False
    return not name.rpartition(".")[2].isdigit()


def proves(certificate: Certificate, name: str) -> bool:
    """Whether ``name``, a SPIFFE ID or a DNS name, is one of the certificate's.

    A DNS name is compared as RFC 6125 says: letters in any case; ``*`` stands for the
    whole of the first label, with at least two labels behind it, and nothing else.
    """
    if name.startswith(SPIFFE):
        return name in certificate.uris
    wanted = name.lower()
    parent = wanted.partition(".")[2]
    accepted = {wanted, f"*.{parent}"} if "." in parent else {wanted}
    return any(each.lower() in accepted for each in certificate.dns)
