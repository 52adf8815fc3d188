"""Cases beyond the catalogue: close neighbours of its own, and what must not break."""

from __future__ import annotations

from tests.wire.case import (
    Passed,
    Refused,
    aborted,
    case,
    chunked,
    closed,
    get,
    head,
    hosted,
    post,
    refused,
)

ZERO = b"0\r\n\r\n"
AB = Passed(body=b"ab")

LENGTHS = [
    case("cl-tabs", post(b"Content-Length:\t2\t", body=b"ab"), AB),
    case("cl-zero", post(b"Content-Length: 0"), Passed(has={b"content-length": b"0"})),
    case("cl-float", post(b"Content-Length: 2.0", body=b"ab"), closed(400)),
    case("cl-nul", post(b"Content-Length: 2\x00", body=b"ab"), refused(400)),
    case("cl-8bit", post(b"Content-Length: \xb2", body=b"ab"), closed(400)),
    case("cl-comma-end", post(b"Content-Length: 2,", body=b"ab"), closed(400)),
    case("cl-int64", post(b"Content-Length: 9223372036854775808"), closed(400)),
    case("cl-wraps", post(b"Content-Length: 18446744073709551618"), closed(400)),
    case(
        "cl-dup-case",
        post(b"Content-Length: 2", b"content-length: 3", body=b"abc"),
        closed(400),
    ),
    case(
        "cl-disguised",
        post(b"Content_Length: 2", body=b"ab"),
        refused(400),
        Passed(lacks=(b"content_length",), after="closed"),
    ),
    case(
        "cl-nominated",
        post(b"Connection: Content-Length", b"Content-Length: 2", body=b"ab"),
        AB,
    ),
]
CODINGS = [
    case("te-tabs", post(b"Transfer-Encoding:\tchunked\t", body=ZERO), Passed()),
    case("te-empty", post(b"Transfer-Encoding: ", body=ZERO), closed(501, 400)),
    case(
        "te-param", post(b"Transfer-Encoding: chunked;a=b", body=ZERO), closed(501, 400)
    ),
    case(
        "te-comma-end",
        post(b"Transfer-Encoding: chunked,", body=ZERO),
        closed(501, 400),
    ),
    case("te-nul", post(b"Transfer-Encoding: chunked\x00", body=ZERO), closed(400)),
    case("te-ff", post(b"Transfer-Encoding: chunked\x0c", body=ZERO), closed(400)),
    case(
        "te-kelvin",
        post(b"Transfer-Encoding: chun\xe2\x84\xaaed", body=ZERO),
        closed(501, 400),
    ),
    case(
        "te-dup-case",
        post(b"Transfer-Encoding: chunked", b"transfer-encoding: x", body=ZERO),
        closed(501, 400),
    ),
    case(
        "te-nominated",
        post(
            b"Connection: Transfer-Encoding",
            b"Transfer-Encoding: chunked",
            body=b"2\r\nab\r\n0\r\n\r\n",
        ),
        AB,
    ),
]
CHUNKS = [
    case(
        "chunk-upper",
        chunked(b"A\r\n0123456789\r\n0\r\n\r\n"),
        Passed(body=b"0123456789"),
    ),
    case("chunk-zeros", chunked(b"0002\r\nab\r\n000\r\n\r\n"), AB),
    case("chunk-last-ext", chunked(b"2\r\nab\r\n0;a=b\r\n\r\n"), AB),
    case(
        "chunk-ext-blanks",
        chunked(b"2 ; a = b\r\nab\r\n0\r\n\r\n"),
        AB,
        Refused((400,), begun=True),
    ),
    case("chunk-quoted-ext", chunked(b'2;a="b;c"\r\nab\r\n0\r\n\r\n'), AB),
    case(
        "chunk-16-digits",
        chunked(b"0000000000000002\r\nab\r\n0\r\n\r\n"),
        Refused((400,), begun=True),
        AB,
    ),
    case("chunk-wraps", chunked(b"10000000000000002\r\nab\r\n0\r\n\r\n"), aborted(400)),
    case("chunk-sign-zero", chunked(b"2\r\nab\r\n-0\r\n\r\n"), aborted(400)),
    case("chunk-last-0x", chunked(b"2\r\nab\r\n0x0\r\n\r\n"), aborted(400)),
    case("chunk-comma", chunked(b"2,2\r\nab\r\n0\r\n\r\n"), aborted(400)),
    case("chunk-nul-ext", chunked(b"2;\x00\r\nab\r\n0\r\n\r\n"), aborted(400)),
    case("chunk-short", chunked(b"3\r\nab\r\n0\r\n\r\n"), aborted(400)),
    case("chunk-cr-cr", chunked(b"2\r\r\nab\r\n0\r\n\r\n"), aborted(400)),
    case(
        "trailer-te",
        chunked(b"2\r\nab\r\n0\r\nTransfer-Encoding: x\r\n\r\n"),
        AB,
    ),
    case("trailer-host", chunked(b"2\r\nab\r\n0\r\nHost: b.test\r\n\r\n"), AB),
    case("trailer-fold", chunked(b"2\r\nab\r\n0\r\nX: y\r\n z\r\n\r\n"), aborted(400)),
    case(
        "trailer-bare-lf", chunked(b"2\r\nab\r\n0\r\nX: y\nZ: z\r\n\r\n"), aborted(400)
    ),
    case("trailer-no-colon", chunked(b"2\r\nab\r\n0\r\nX\r\n\r\n"), aborted(400)),
]
TARGETS = [
    case("options-star", head(b"OPTIONS * HTTP/1.1"), Passed()),
    case(
        "abs-form-case",
        head(b"GET HTTP://A.test/x HTTP/1.1"),
        Passed(b"GET /x HTTP/1.1"),
    ),
    case(
        "abs-form-query",
        head(b"GET http://a.test?x HTTP/1.1"),
        Passed(b"GET /?x HTTP/1.1"),
    ),
    case(
        "abs-form-no-path",
        head(b"GET http://a.test HTTP/1.1"),
        Passed(b"GET / HTTP/1.1"),
    ),
    case("abs-form-empty", head(b"GET http:///x HTTP/1.1"), refused(400)),
    case("abs-form-backslash", head(b"GET http:\\\\a.test/x HTTP/1.1"), refused(400)),
    case("path-del", head(b"GET /a\x7f HTTP/1.1"), refused(400)),
    case("path-pct-end", head(b"GET /a%4 HTTP/1.1"), refused(400)),
    case("path-empty", head(b"GET  HTTP/1.1"), refused(400)),
    case("connect-off", head(b"CONNECT a.test:443 HTTP/1.1"), refused(400, 405)),
    case("connect-no-port", head(b"CONNECT a.test HTTP/1.1"), refused(400)),
    case("host-ipv6", hosted(b"[::1]:80"), Passed(has={b"host": b"[::1]:80"})),
    case("host-empty", hosted(b""), refused(400)),
    case("host-same-twice", hosted(b"a.test", b"a.test"), refused(400)),
    case("host-8bit", hosted(b"\xe9.test"), refused(400)),
    case("host-port-letters", hosted(b"a.test:x"), refused(400)),
    case("host-port-long", hosted(b"a.test:99999999"), refused(400)),
    case("host-open-bracket", hosted(b"[::1"), refused(400)),
    case("host-quote", hosted(b'a".test'), refused(400)),
]
LINES = [
    case(
        "ver-1.0-close",
        head(b"GET / HTTP/1.0"),
        Passed(b"GET / HTTP/1.1", after="closed"),
    ),
    case(
        "ver-1.0-keeps",
        head(b"GET / HTTP/1.0", b"Connection: keep-alive"),
        Passed(b"GET / HTTP/1.1"),
    ),
    case("ver-1.2", head(b"GET / HTTP/1.2"), refused(505, 400)),
    case("ver-0.9-said", head(b"GET / HTTP/0.9"), refused(505, 400)),
    case("ver-1.", head(b"GET / HTTP/1."), closed(400)),
    case("ver-01.1", head(b"GET / HTTP/01.1"), closed(400)),
    case("ver-none", head(b"GET /"), closed(400)),
    case("lead-lf", b"\n" + get(), refused(400)),
    case("lead-cr", b"\r" + get(), refused(400)),
    case("lead-space", b" " + get(), refused(400)),
    case("method-none", head(b" / HTTP/1.1"), refused(400)),
    case("method-8bit", head(b"G\xe9T / HTTP/1.1"), refused(400)),
]
HOPS = [
    case("conn-close-case", get(b"Connection: CLOSE"), Passed(after="closed")),
    case(
        "conn-close-list", get(b"Connection: keep-alive,close"), Passed(after="closed")
    ),
    case(
        "conn-close-second",
        get(b"Connection: x", b"Connection: close"),
        Passed(after="closed"),
    ),
    case("conn-empty", get(b"Connection: ,, ,", b"X-A: b"), Passed(has={b"x-a": b"b"})),
    case(
        "conn-strip-case", get(b"Connection: x-A", b"X-a: b"), Passed(lacks=(b"x-a",))
    ),
    case(
        "conn-strip-all",
        get(b"Connection: X-A", b"X-A: b", b"X-A: c"),
        Passed(lacks=(b"x-a",)),
    ),
    case(
        "upgrade-without-connection",
        get(b"Upgrade: websocket"),
        Passed(lacks=(b"upgrade",)),
    ),
    case(
        "http2-settings-alone",
        get(b"HTTP2-Settings: AAMAAABk"),
        Passed(lacks=(b"http2-settings",)),
    ),
    case(
        "upgrade-h2c-among",
        get(b"Upgrade: h2c, websocket", b"Connection: Upgrade"),
        Passed(has={b"upgrade": b"websocket"}, after="either"),
        Passed(lacks=(b"upgrade",), after="either"),
    ),
    case(
        "proxy-authorization",
        get(b"Proxy-Authorization: Basic eDp5"),
        Passed(lacks=(b"proxy-authorization",)),
    ),
]
CASES = [*LENGTHS, *CODINGS, *CHUNKS, *TARGETS, *LINES, *HOPS]
