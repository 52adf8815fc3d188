"""Field lines: folding, line ends, bytes that names and values may not have, size."""

from __future__ import annotations

from tests.wire.case import case, closed, get, head, refused


def many(count: int) -> bytes:
    """A GET with ``count`` fields, Host among them."""
    return get(*(b"X-%d: y" % number for number in range(count - 1)))


CASES = [
    case("obs-fold", get(b"X-A: b\r\n c"), refused(400)),
    case(
        "obs-fold-first",
        b"GET / HTTP/1.1\r\n X-A: b\r\nHost: a.test\r\n\r\n",
        refused(400),
    ),
    case("bare-lf-hdr", get(b"X-A: b\nX-B: c"), refused(400)),
    case("bare-lf-all", b"GET / HTTP/1.1\nHost: a.test\n\n", refused(400)),
    case("bare-cr-hdr", get(b"X-A: b\rX-B: c"), refused(400)),
    case("bare-cr-line", head(b"GET / HTTP/1.1\r"), refused(400)),
    case("nul-value", get(b"X-A: b\x00c"), refused(400)),
    case("nul-name", get(b"X\x00A: b"), refused(400)),
    case("ctl-value", get(b"X-A: b\x01c"), refused(400)),
    case("hi-name", get(b"X\xefA: b"), refused(400)),
    case("empty-name", get(b": b"), refused(400)),
    case("no-colon", get(b"X-A b"), refused(400)),
    case("space-in-name", get(b"X A: b"), refused(400)),
    case("hdr-101", many(101), refused(431)),
    case("hdr-1000", many(1000), refused(431)),
    case("hdr-value-64k", get(b"X-A: " + b"a" * 65536), refused(431)),
    case("hdr-value-1m", get(b"X-A: " + b"a" * 1048576), refused(431)),
    case("pri-preface-h1", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", refused(400)),
    case("tls-on-plain", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", closed(400)),
]
