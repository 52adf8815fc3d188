"""The expressions themselves: every byte is let through or not, and in linear time."""

from __future__ import annotations

import re

import pytest

from proxy.codec.h1 import grammar

TOKENS = (
    b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
EVERY = [bytes([each]) for each in range(256)]


def test_a_token_has_the_77_bytes_of_the_rfc_and_no_other() -> None:
    token = re.compile(grammar.TOKEN)

    assert {each for each in EVERY if token.fullmatch(each)} == {
        bytes([each]) for each in TOKENS
    }
    assert len(TOKENS) == 77


def test_a_value_has_every_byte_but_controls_and_may_have_tabs() -> None:
    value = re.compile(grammar.VALUE)
    refused = {each for each in EVERY if value.fullmatch(each) is None}

    assert refused == {bytes([each]) for each in range(32) if each != 9} | {b"\x7f"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"GET / HTTP/1.1\r\n", (b"GET", b"/", b"1")),
        (b"M" * 64 + b" * HTTP/1.0\r\n", (b"M" * 64, b"*", b"0")),
        (b"M" * 65 + b" / HTTP/1.1\r\n", None),
        (b"GET  / HTTP/1.1\r\n", None),
        (b"GET / HTTP/1.2\r\n", None),
        (b"GET / http/1.1\r\n", None),
        (b"GET /\x80 HTTP/1.1\r\n", None),
        (b"GET / HTTP/1.1\n", None),
    ],
)
def test_a_request_line_has_three_parts_and_single_blanks(
    line: bytes, found: tuple[bytes, ...] | None
) -> None:
    match = grammar.REQUEST_LINE.match(line)

    assert (match and match.groups()) == found


@pytest.mark.parametrize(
    ("line", "is_fine"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.0 200\r\n", True),
        (b"HTTP/1.1 200 \r\n", True),
        (b"HTTP/1.1 200 \xe9t\xe9\r\n", True),
        (b"HTTP/1.1 099 Low\r\n", False),
        (b"HTTP/1.1 20 Short\r\n", False),
        (b"HTTP/1.1 2000 Long\r\n", False),
        (b"HTTP/2 200 OK\r\n", False),
        (b"HTTP/1.1 200 a\x00b\r\n", False),
    ],
)
def test_a_status_line_may_lack_its_reason(line: bytes, is_fine: bool) -> None:
    assert (grammar.STATUS_LINE.match(line) is not None) == is_fine


@pytest.mark.parametrize(
    ("host", "is_fine"),
    [
        (b"a.test", True),
        (b"a.test:80", True),
        (b"[::1]:80", True),
        (b"[fe80::1%25eth0]", True),
        (b"a_b.test", True),
        (b"", False),
        (b"a,b", False),
        (b"a b", False),
        (b"user@a.test", False),
        (b"a.test:", False),
        (b"a.test:123456", False),
        (b"a/b", False),
        (b"::1", False),
        (b"[::1", False),
        (b"a.test\x00", False),
    ],
)
def test_a_host_is_one_name_and_perhaps_a_port(host: bytes, is_fine: bool) -> None:
    assert (grammar.HOST.fullmatch(host) is not None) == is_fine


def test_the_authority_of_connect_has_a_port() -> None:
    assert grammar.AUTHORITY_PORT.fullmatch(b"a.test:443")
    assert grammar.AUTHORITY_PORT.fullmatch(b"[::1]:443")
    assert grammar.AUTHORITY_PORT.fullmatch(b"a.test") is None


@pytest.mark.parametrize(
    ("text", "is_broken"),
    [
        (b"a\r\nb\r\n", False),
        (b"a\r", False),
        (b"a\n", True),
        (b"a\rb", True),
        (b"a\r\n\nb", True),
        (b"a\r\rb", True),
        (b"\n", True),
    ],
)
def test_only_crlf_ends_a_line(text: bytes, is_broken: bool) -> None:
    assert (grammar.BARE_LINE_END.search(text) is not None) == is_broken


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b"0\r\n", b"0"),
        (b"fF\r\n", b"fF"),
        (b"5;a=b\r\n", b"5"),
        (b'5 ;a="b;c"\r\n', b"5"),
        (b"5 \r\n", None),
        (b"0x5\r\n", None),
        (b"+5\r\n", None),
        (b"-5\r\n", None),
        (b"5;a\n\r\n", None),
        (b"f" * 15 + b"\r\n", b"f" * 15),
        (b"f" * 16 + b"\r\n", None),
        (b"\r\n", None),
    ],
)
def test_a_chunks_line_is_hex_and_perhaps_an_extension(
    line: bytes, size: bytes | None
) -> None:
    match = grammar.CHUNK_LINE.match(line)

    assert (match and match[1]) == size
