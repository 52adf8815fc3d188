"""Host fields and request targets."""

from __future__ import annotations

from tests.wire.case import Passed, case, head, hosted, refused


def line(data: bytes) -> bytes:
    return head(data + b" HTTP/1.1")


CASES = [
    case("no-host", hosted(), refused(400)),
    case("two-host", hosted(b"a.test", b"b.test"), refused(400)),
    case("host-bad", hosted(b"a.test/x"), refused(400)),
    case("host-userinfo", hosted(b"u@a.test"), refused(400)),
    case("host-space", hosted(b"a.test b.test"), refused(400)),
    case("host-comma", hosted(b"a.test,b.test"), refused(400)),
    case(
        "abs-form-ok",
        line(b"GET http://a.test/x"),
        Passed(b"GET /x HTTP/1.1", has={b"host": b"a.test"}),
    ),
    case("abs-form-mismatch", line(b"GET http://b.test/x"), refused(400)),
    case("abs-form-userinfo", line(b"GET http://u@a.test/x"), refused(400)),
    case("abs-form-file", line(b"GET file:///etc/passwd"), refused(400)),
    case("path-nolead", line(b"GET x"), refused(400)),
    case("path-star-get", line(b"GET *"), refused(400)),
    case("path-fragment", line(b"GET /a#b"), refused(400)),
    case("path-space", line(b"GET /a b"), refused(400)),
    case("path-ctl", line(b"GET /a\x01b"), refused(400)),
    case("path-8bit", line(b"GET /a\xff"), refused(400)),
    case("path-dotdot", line(b"GET /a/../b"), Passed()),
    case("path-enc-slash", line(b"GET /a%2f..%2fb"), Passed()),
    case("path-bad-pct", line(b"GET /a%zz"), refused(400)),
    case("path-nul-enc", line(b"GET /a%00b"), refused(400)),
    case("uri-64k", line(b"GET /" + b"a" * 65536), refused(414)),
    case("connect-nohost", line(b"CONNECT /"), refused(400)),
]
