"""Trace contexts on the wire: W3C ``traceparent`` and ``tracestate``, and B3.

Parsing is strict: what is malformed is no context, and its trace starts anew. What is
written is written in every form that came, so that whoever reads one is served.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from meshfilters.message import Headers

NAMES = (
    *(b"traceparent", b"tracestate", b"b3", b"x-b3-traceid", b"x-b3-spanid"),
    *(b"x-b3-parentspanid", b"x-b3-sampled", b"x-b3-flags"),
)

# W3C Trace Context 3.2: a version above 00 may have more behind a hyphen; ff is none.
_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
    rb"(-.*)?"
)
_B3 = re.compile(
    rb"(?!0+-)([0-9a-f]{16}|[0-9a-f]{32})-(?!0{16})([0-9a-f]{16})"
    rb"(?:-([01d])(?:-[0-9a-f]{16})?)?",
    re.IGNORECASE,
)
_DECISIONS = frozenset({b"0", b"1", b"d"})
_SAMPLED = {b"1": b"1", b"0": b"0", b"true": b"1", b"false": b"0"}
_STATE_MEMBERS = 32
_STATE_BYTES = 512
_STATE_MEMBER_BYTES = 128


@attrs.frozen
class Context:
    """Where a request stands in its trace, as its client says."""

    trace_id: str = ""
    """32 digits; empty when the client only decided about sampling."""
    span_id: str = ""
    is_sampled: bool | None = None
    """None when the client left the decision to us (B3)."""
    is_debug: bool = False
    state: str = ""


def carries_context(index: Mapping[bytes, bytes]) -> bool:
    """Whether lower-case header names hint at a trace at all."""
    return (
        b"traceparent" in index
        or b"b3" in index
        or b"x-b3-traceid" in index
        or b"x-b3-sampled" in index
        or b"x-b3-flags" in index
    )


def read_context(headers: Headers) -> Context | None:
    """The client's context; W3C before B3 in one header before B3 in several."""
    if b"traceparent" in headers:
        return _read_w3c(headers)
    if b"b3" in headers:
        return _read_b3(headers)
    return _read_b3_multi(headers)


def write_context(headers: Headers, context: Context, parent_id: str) -> None:
    """Put a sampled context into ``headers``: in each form that came, else as W3C.

    ``parent_id`` is the span that ``context.span_id`` is a child of, or empty.
    """
    short_id = context.trace_id.removeprefix("0" * 16)  # as a client of 64 bits sent it
    has_single = b"b3" in headers
    has_multi = any(name in headers for name in NAMES[3:])
    if has_single:
        flag = "d" if context.is_debug else "1"
        parts = filter(None, (short_id, context.span_id, flag, parent_id))
        headers.set(b"b3", "-".join(parts).encode())
    if has_multi:
        headers.set(b"x-b3-traceid", short_id.encode())
        headers.set(b"x-b3-spanid", context.span_id.encode())
        headers.remove(b"x-b3-parentspanid", b"x-b3-sampled", b"x-b3-flags")
        if parent_id:
            headers.add(b"x-b3-parentspanid", parent_id.encode())
        name = b"x-b3-flags" if context.is_debug else b"x-b3-sampled"
        headers.add(name, b"1")
    if b"traceparent" in headers or not (has_single or has_multi):
        value = f"00-{context.trace_id}-{context.span_id}-01"
        headers.set(b"traceparent", value.encode())
        headers.remove(b"tracestate")
        if context.state:
            headers.add(b"tracestate", context.state.encode())


def _read_w3c(headers: Headers) -> Context | None:
    values = headers.getall(b"traceparent")
    found = _TRACEPARENT.fullmatch(values[0])
    if len(values) > 1 or found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"00" and more is not None:
        return None
    return Context(
        trace_id.decode(),
        span_id.decode(),
        is_sampled=bool(int(flags, 16) & 1),
        state=_bounded_state(b",".join(headers.getall(b"tracestate"))),
    )


def _read_b3(headers: Headers) -> Context | None:
    values = headers.getall(b"b3")
    if len(values) > 1:
        return None
    if values[0] in _DECISIONS:
        return _decided("", "", values[0])
    found = _B3.fullmatch(values[0])
    if found is None:
        return None
    trace_id, span_id, decision = found.groups()
    return _decided(trace_id.decode(), span_id.decode(), decision)


def _read_b3_multi(headers: Headers) -> Context | None:
    decision = b"d" if headers.get(b"x-b3-flags") == b"1" else None
    decision = decision or _SAMPLED.get(headers.get(b"x-b3-sampled") or b"")
    trace_id = headers.get(b"x-b3-traceid")
    if trace_id is None and b"x-b3-spanid" not in headers:
        return _decided("", "", decision) if decision else None
    span_id = headers.get(b"x-b3-spanid") or b""
    found = _B3.fullmatch(b"%b-%b" % (trace_id or b"", span_id))
    if found is None or found[3] is not None:
        return None
    return _decided(found[1].decode(), found[2].decode(), decision)


def _decided(trace_id: str, span_id: str, decision: bytes | None) -> Context:
    return Context(
        trace_id.lower().rjust(32, "0") if trace_id else "",
        span_id.lower(),
        is_sampled=None if decision is None else decision != b"0",
        is_debug=decision == b"d",
    )


def _bounded_state(value: bytes) -> str:
    """``tracestate`` within W3C's bounds (3.3.1.5): long members go before late ones."""
    if not value.isascii() or not value.decode().replace("\t", " ").isprintable():
        return ""
    members = [each.strip() for each in value.decode().split(",") if each.strip()]
    if len(",".join(members)) > _STATE_BYTES:
        members = [each for each in members if len(each) <= _STATE_MEMBER_BYTES]
    del members[_STATE_MEMBERS:]
    while len(",".join(members)) > _STATE_BYTES:
        members.pop()
    return ",".join(members)
