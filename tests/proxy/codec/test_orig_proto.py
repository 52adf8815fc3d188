"""What sidecars tell each other is said both ways alike, and never in HTTP/1.1."""

from __future__ import annotations

from proxy.codec.h1.fields import HOP_BY_HOP
from proxy.codec.orig_proto import MESH, ORIG_PROTO, TOLD, VERSIONS


def test_versions_are_told_and_read_alike() -> None:
    assert {TOLD[version]: version for version in VERSIONS.values()} == VERSIONS


def test_the_field_is_dropped_from_http1() -> None:
    assert ORIG_PROTO in HOP_BY_HOP
    assert MESH not in ("h2", "http/1.1")
