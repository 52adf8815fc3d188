"""What a client speaks, told by the first bytes it sends.

A listener's request filters see requests and nothing else. Bytes that are taken for
opaque pass them by, so whatever some lenient server behind could take for a request is
HTTP here: its session refuses what it does not understand. By the first line, empty ones
and blanks before it left out:

- it ends in a blank and ``HTTP/`` with a version, in any case, whatever stands before
  and whatever ends it, be it CRLF or one of them: HTTP/1;
- a known method and a path, or an http URL, whatever comes behind: HTTP/1. A version
  that is missing or wrong is refused there, HTTP/0.9 too;
- it ends otherwise: opaque, be it ``EHLO``, ``*1``, a log line or ``OPTIONS * RTSP/1.0``;
- it has not ended, and its first word has a byte that no method has: opaque with a
  control character, as nearly every binary protocol; ``unlikely`` without, as JSON,
  which may pass while it is still looked at;
- it does not end within ``LONGEST`` though it could be a request: HTTP/1, which refuses it.

HTTP/2 is told by the first line of its preface, and its session judges the rest; TLS by
the head of a handshake record. Until then nothing is decided, however few the bytes.

What no rule here can help is a server that speaks TLS itself, or takes a control
character in a method. A listener whose filters keep somebody out has ``protocol: http1``,
``http2`` or ``grpc``, and then nothing is opaque.
"""

from __future__ import annotations

import re
from typing import Literal

from meshfilters.client_hello import is_tls
from proxy.codec.h1.grammar import TOKEN

Kind = Literal["http1", "http2", "tls", "opaque", "unlikely"]

LONGEST = 4096
"""Bytes of a first line after which no more are waited for."""

PREFACE = b"PRI * HTTP/2.0\r\n"
"""RFC 9113, 3.4, as far as it is a line: nothing else begins so."""

BLANKS = rb"\t\x0b\x0c\x1c-\x1f \x85\xa0"
"""What somebody's server splits a line at: those of Python's take all of these."""

REQUEST = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE)[" + BLANKS + rb"]+"
    rb"(?:/|https?://)"
)
LEADING = b"\r\n\t\x0b\x0c\x1c\x1d\x1e\x1f \x85\xa0"
METHOD = re.compile(TOKEN + rb"+(?:[" + BLANKS + rb"]|\Z)")
WORD = re.compile(rb"[!-~\x80-\x84\x86-\x9f\xa1-\xff]+(?:[" + BLANKS + rb"]|\Z)")
LINE_END = re.compile(rb"[\r\n]")
VERSION = re.compile(
    rb"[" + BLANKS + rb"]HTTP/[0-9.]*[" + BLANKS + rb"]*[\r\n]", re.IGNORECASE
)


def detect(first: bytes) -> Kind | None:
    """What a connection that begins with ``first`` speaks; None if that is open yet.

    Further bytes change nothing of it, save that ``unlikely`` becomes one of the others.
    """
    if REQUEST.match(first):
        return "http1"
    if is_tls(first):
        return "tls" if len(first) > 1 else None
    if PREFACE.startswith(first[: len(PREFACE)]):
        return "http2" if len(first) >= len(PREFACE) else None
    return _by_line(first)


def settle(first: bytes) -> Kind:
    """What a connection speaks that begins with ``first`` and says no more."""
    return detect(first + b"\n") or "opaque"


def _by_line(first: bytes) -> Kind | None:
    line = first.lstrip(LEADING)
    end = LINE_END.search(line)
    if REQUEST.match(line):
        return "http1"
    if end is not None:
        return "http1" if VERSION.search(line, 0, end.end()) else "opaque"
    is_long = len(first) > LONGEST
    if not line or METHOD.match(line):
        return "http1" if is_long else None
    return "opaque" if is_long or WORD.match(line) is None else "unlikely"
