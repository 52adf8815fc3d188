from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.codec.detect import LONGEST, Kind, detect, settle

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

TOLD: list[tuple[bytes, bytes, Kind]] = [
    # What was not enough, what then was, and what it told.
    (b"GET ", b"/", "http1"),
    (b"PUT \t ", b"/", "http1"),
    (b"POST http:/", b"/", "http1"),
    (b"OPTIONS * HTTP/1.1", b"\r", "http1"),
    (b"PURGE /a HTTP/1.1", b"\r", "http1"),
    (b"CONNECT a:443 HTTP/1.1", b"\r", "http1"),
    (b"VERSION-CONTROL /a HTTP/1.0", b"\r", "http1"),
    (b"PRI * HTTP/2.0\r", b"\n", "http2"),
    (b"PRI * HTTP/1.1", b"\r", "http1"),
    (b"\x16", b"\x03", "tls"),
    (b"*2", b"\r", "opaque"),  # Redis
    (b"PING", b"\r", "opaque"),  # Redis, NATS
    (b"EHLO mail.example.org", b"\r", "opaque"),
    (b"SSH-2.0-OpenSSH_9.2", b"\r", "opaque"),
    (b"NICK a", b"\n", "opaque"),
    (b"CONNECT", b"\n", "opaque"),  # STOMP
    (b"OPTIONS * RTSP/1.0", b"\r", "opaque"),
    (b"INVITE sip", b":a@b SIP/2.0\r", "opaque"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2", b"\r", "opaque"),
    (b'192.0.2.1 - "GET / HTTP/1.1" 200', b"\n", "opaque"),  # a log line
    (b"get /key", b"\r", "opaque"),  # memcached
    (b"GET key", b"\r", "opaque"),  # Redis again, by hand
    (b"\r\n\r\n", b"\0\r\nQUIT\n", "opaque"),  # PROXY, the second version
    (b"AMQP", b"\0\0\x09\x01", "opaque"),
    (b"", b"\0\0\0\x08\x04\xd2\x16\x2f", "opaque"),  # PostgreSQL
    (b"", b"\x10", "opaque"),  # MQTT
    (b"\x16", b"\x01", "opaque"),
    (b"\x42", b"\0\0\0", "opaque"),  # MongoDB
]

LENIENT = [
    # What servers are known to have taken for requests.
    b"\r\nGET /a HTTP/1.1\r\n",
    b"\n\n\nGET /a HTTP/1.1\r\n",
    b"  FOO /a HTTP/1.1\r\n",
    b"GET /a HTTP/1.1\n\n",
    b"FOO /a HTTP/1.1\n\n",
    b"FOO /a HTTP/1.1\rHost: a\r\r",
    b"FOO\t/a\tHTTP/1.1\r\n",
    b"FOO\x0b/a\xa0HTTP/1.1\r\n",
    b"FOO /a HTTP/1.1 \r\n",
    b"foo /a http/1.1\r\n",
    b"FOO /a HTTP/9.9\r\n",
    b"FOO /a HTTP/\r\n",
    b"FOO /a b c HTTP/1.1\r\n",
    b"FOO /\xc3\xa9 HTTP/1.1\r\n",
    b"FOO /\x01 HTTP/1.1\r\n",
    b"FOO HTTP/1.1\r\n",
    b"GET /a\r\n",  # HTTP/0.9
    b"GET /a\0 HTTP/1.1\r\n",
    b"G\xe9T /a HTTP/1.1\r\n",
    b"G@T /a HTTP/1.1\r\n",
    b" / HTTP/1.1\r\n",
    b"M" * 65 + b" /a HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\n\nSM\n\n",
    b"PRI /a HTTP/2.0\r\n",
    b"\r\n" + PREFACE,
]


@pytest.mark.parametrize(("before", "then", "kind"), TOLD)
def test_the_first_bytes_tell_as_soon_as_they_can_and_for_good(
    before: bytes, then: bytes, kind: Kind
) -> None:
    for end in range(len(before) + 1):
        assert detect(before[:end]) is None
    whole = before + then + b"\nGET / HTTP/1.1\r\n"
    for end in range(len(before + then), len(whole) + 1):
        assert detect(whole[:end]) == kind


@pytest.mark.parametrize("request_", LENIENT)
def test_what_any_server_could_take_for_a_request_is_never_opaque(
    request_: bytes,
) -> None:
    told = [detect(request_[:end]) for end in range(len(request_) + 1)]

    assert set(told) <= {None, "unlikely", "http1"}
    assert told[-1] == "http1"
    assert detect(request_ + b"more") == "http1"


def test_the_preface_is_told_by_its_first_line_whatever_follows() -> None:
    for end in range(len(PREFACE)):
        told = detect(PREFACE[:end])
        assert told == ("http2" if end >= 16 else None)
    assert detect(b"PRI * HTTP/2.0\r\nHost: a\r\n\r\n") == "http2"


@pytest.mark.parametrize(
    "first", [b'{"a": 1}', b"<34>Oct", b"\x80\xff", b"\xe2\x82\xac "]
)
def test_what_begins_with_no_method_is_unlikely_until_its_line_ends(
    first: bytes,
) -> None:
    for end in range(1, len(first) + 1):
        assert detect(first[:end]) == "unlikely"
    assert detect(first + b"\n") == "opaque"
    assert settle(first) == "opaque"


def test_a_line_that_does_not_end_is_told_by_how_it_began() -> None:
    assert detect(b"{" * LONGEST) == "unlikely"
    assert detect(b"{" * LONGEST + b"{") == "opaque"
    assert detect(b"X" * LONGEST) is None
    assert detect(b"X" * LONGEST + b"X") == "http1"
    assert detect(b"\n" * LONGEST) is None
    assert detect(b"\n" * LONGEST + b"\n") == "http1"


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (b"G", "opaque"),
        (b"GET /a", "http1"),
        (b"FOO /a HTTP/1.1", "http1"),
        (b"FOO /a HTTP/1.", "http1"),
        (b"hello", "opaque"),
        (b"\r\n", "opaque"),
        (b"\x16", "opaque"),
        (b"PRI * HTTP/2.0", "http1"),
    ],
)
def test_what_says_no_more_is_taken_as_a_line_that_ended(
    first: bytes, kind: Kind
) -> None:
    assert settle(first) == kind


PIECES = st.sampled_from(
    [
        *(b"GET", b"FOO", b" ", b"\t", b"/", b"HTTP/1.1", b"http/", b"PRI * HTTP/2.0"),
        *(b"\r", b"\n", b"\0", b"\x16", b"\x03", b"\xa0", b"x", b"1.1", b"*"),
    ]
)


@given(st.lists(PIECES, max_size=12))
def test_more_bytes_never_change_what_was_told(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    told = [detect(whole[:end]) for end in range(len(whole) + 1)]
    order = [None, "unlikely", *({*told} - {None, "unlikely"})]

    assert len(order) <= 3
    assert told == sorted(told, key=order.index)
