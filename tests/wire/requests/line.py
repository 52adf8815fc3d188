"""Methods, versions, and the spaces and line ends around them."""

from __future__ import annotations

from tests.wire.case import Passed, case, closed, get, head, refused

CASES = [
    case("method-lower", head(b"get / HTTP/1.1"), Passed(), refused(501)),
    case("method-bad", head(b'G"T / HTTP/1.1'), refused(400)),
    case("method-long", head(b"A" * 300 + b" / HTTP/1.1"), refused(400, 501)),
    case("ver-09", b"GET /\r\n", closed(400)),
    case("ver-1.32", head(b"GET / HTTP/1.32"), closed(400)),
    case("ver-2.0", head(b"GET / HTTP/2.0"), refused(505)),
    case("ver-3.7", head(b"GET / HTTP/3.7"), refused(505)),
    case("ver-http-lower", head(b"GET / http/1.1"), closed(400)),
    case("ver-rtsp", head(b"GET / RTSP/1.1"), closed(400)),
    case("line-2sp", head(b"GET  /  HTTP/1.1"), refused(400)),
    case("line-tab", head(b"GET\t/\tHTTP/1.1"), refused(400)),
    case("line-trail", head(b"GET / HTTP/1.1 "), refused(400)),
    case("lead-crlf", b"\r\n" + get(), Passed(b"GET / HTTP/1.1")),
    case("lead-crlf-x20", b"\r\n" * 20 + get(), refused(400)),
]
