from __future__ import annotations

import pytest

from meshfilters.message import Headers
from meshfilters.propagation import (
    Context,
    carries_context,
    read_context,
    write_context,
)

TRACE, SPAN, OWN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "12" * 8
SHORT = "a3ce929d0e0e4736"


def read(**fields: str) -> Context | None:
    """The context of headers named by keyword, ``_`` standing for ``-``."""
    return read_context(
        Headers([(n.replace("_", "-").encode(), v.encode()) for n, v in fields.items()])
    )


@pytest.mark.parametrize(
    ("value", "is_sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
    ],
)
def test_a_traceparent_is_read(value: str, is_sampled: bool) -> None:
    assert read(TraceParent=value) == Context(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01.",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_a_malformed_traceparent_is_no_context(value: str) -> None:
    assert read(traceparent=value) is None


def test_two_traceparents_are_no_context() -> None:
    field = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())

    assert read_context(Headers([field, field])) is None


@pytest.mark.parametrize(
    ("value", "state"),
    [
        ("a=1, b=2", "a=1,b=2"),
        ("a=1,,\t, b=2", "a=1,b=2"),
        ("a=caf\u00e9", ""),
        ("a=\x1b", ""),
        (f"long={'x' * 500},b=2", f"long={'x' * 500},b=2"),
        (f"long={'x' * 600},b=2", "b=2"),
        (
            ",".join(f"k{n}=1" for n in range(40)),
            ",".join(f"k{n}=1" for n in range(32)),
        ),
        (
            ",".join(f"k{n}={'x' * 96}" for n in range(9)),
            ",".join(f"k{n}={'x' * 96}" for n in range(5)),
        ),
    ],
)
def test_a_tracestate_is_bounded(value: str, state: str) -> None:
    context = read(traceparent=f"00-{TRACE}-{SPAN}-01", tracestate=value)

    assert context is not None
    assert context.state == state


def test_a_tracestate_in_several_fields_is_one() -> None:
    parent = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    states = [(b"tracestate", b"a=1"), (b"Tracestate", b"b=2")]
    context = read_context(Headers([parent, *states]))

    assert context is not None
    assert context.state == "a=1,b=2"


@pytest.mark.parametrize(
    ("value", "context"),
    [
        (f"{TRACE}-{SPAN}-1", Context(TRACE, SPAN, True)),
        (f"{TRACE}-{SPAN}-0", Context(TRACE, SPAN, False)),
        (f"{TRACE}-{SPAN}-d", Context(TRACE, SPAN, True, is_debug=True)),
        (f"{TRACE}-{SPAN}", Context(TRACE, SPAN, None)),
        (f"{TRACE}-{SPAN}-1-{OWN}", Context(TRACE, SPAN, True)),
        (f"{SHORT}-{SPAN}-1", Context("0" * 16 + SHORT, SPAN, True)),
        (f"{TRACE.upper()}-{SPAN.upper()}-1", Context(TRACE, SPAN, True)),
        ("0", Context(is_sampled=False)),
        ("1", Context(is_sampled=True)),
        ("d", Context(is_sampled=True, is_debug=True)),
    ],
)
def test_b3_in_one_header_is_read(value: str, context: Context) -> None:
    assert read(b3=value) == context


@pytest.mark.parametrize(
    "value",
    [
        *("", "2", SPAN, f"{TRACE}-{SPAN}-2", f"{TRACE}-{SPAN}-1-", f"x{TRACE}-{SPAN}"),
        *(f"{'0' * 32}-{SPAN}-1", f"{TRACE}-{'0' * 16}-1", f"{TRACE[:-1]}-{SPAN}-1"),
    ],
)
def test_malformed_b3_is_no_context(value: str) -> None:
    assert read(b3=value) is None


def test_b3_twice_is_no_context() -> None:
    assert read_context(Headers([(b"b3", b"1"), (b"B3", b"0")])) is None


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({"x_b3_sampled": "1"}, Context(TRACE, SPAN, True)),
        ({"x_b3_sampled": "true"}, Context(TRACE, SPAN, True)),
        ({"x_b3_sampled": "0"}, Context(TRACE, SPAN, False)),
        ({"x_b3_flags": "1"}, Context(TRACE, SPAN, True, is_debug=True)),
        ({}, Context(TRACE, SPAN, None)),
        ({"x_b3_sampled": "perhaps"}, Context(TRACE, SPAN, None)),
    ],
)
def test_b3_in_several_headers_is_read(
    fields: dict[str, str], context: Context
) -> None:
    assert read(X_B3_TraceId=TRACE, X_B3_SpanId=SPAN, **fields) == context


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({"x_b3_sampled": "0"}, Context(is_sampled=False)),
        ({"x_b3_flags": "1"}, Context(is_sampled=True, is_debug=True)),
        ({"x_b3_sampled": "perhaps"}, None),
        ({"x_b3_traceid": TRACE, "x_b3_sampled": "1"}, None),
        ({"x_b3_spanid": SPAN, "x_b3_sampled": "1"}, None),
        ({"x_b3_traceid": TRACE, "x_b3_spanid": f"{SPAN}-1"}, None),
    ],
)
def test_b3_in_several_headers_may_be_a_decision_alone_or_malformed(
    fields: dict[str, str], context: Context | None
) -> None:
    assert read(**fields) == context


def test_w3c_is_read_before_b3() -> None:
    context = read(traceparent=f"00-{TRACE}-{SPAN}-00", b3=f"{SHORT}-{OWN}-1")

    assert context == Context(TRACE, SPAN, False)


def written(context: Context, parent_id: str, **fields: str) -> dict[str, str]:
    headers = Headers(
        [(n.replace("_", "-").encode(), v.encode()) for n, v in fields.items()]
    )
    write_context(headers, context, parent_id)
    return {name.decode(): value.decode() for name, value in headers}


def test_a_root_is_written_as_w3c() -> None:
    assert written(Context(TRACE, SPAN), "") == {"traceparent": f"00-{TRACE}-{SPAN}-01"}


def test_a_context_is_written_in_every_form_that_came() -> None:
    fields = written(
        Context(TRACE, SPAN, state="a=1"),
        OWN,
        traceparent="x",
        tracestate="y",
        b3="x",
        x_b3_traceid="x",
        x_b3_flags="0",
    )

    assert fields == {
        "traceparent": f"00-{TRACE}-{SPAN}-01",
        "tracestate": "a=1",
        "b3": f"{TRACE}-{SPAN}-1-{OWN}",
        "x-b3-traceid": TRACE,
        "x-b3-spanid": SPAN,
        "x-b3-parentspanid": OWN,
        "x-b3-sampled": "1",
    }


def test_who_spoke_b3_with_64_bits_is_answered_so() -> None:
    context = Context("0" * 16 + SHORT, SPAN, is_debug=True)

    assert written(context, OWN, b3="x") == {"b3": f"{SHORT}-{SPAN}-d-{OWN}"}


def test_a_decision_alone_grows_into_a_context() -> None:
    context = Context(TRACE, SPAN, True)

    assert written(context, "", b3="1") == {"b3": f"{TRACE}-{SPAN}-1"}
    assert written(context, "", x_b3_sampled="1") == {
        "x-b3-traceid": TRACE,
        "x-b3-spanid": SPAN,
        "x-b3-sampled": "1",
    }
    assert written(Context(TRACE, SPAN, True, is_debug=True), "", x_b3_flags="1") == {
        "x-b3-traceid": TRACE,
        "x-b3-spanid": SPAN,
        "x-b3-flags": "1",
    }


@pytest.mark.parametrize(
    "name", [b"traceparent", b"b3", b"x-b3-traceid", b"x-b3-sampled", b"x-b3-flags"]
)
def test_any_header_of_a_trace_is_noticed(name: bytes) -> None:
    assert carries_context({name: b""})
    assert not carries_context({b"host": b"", b"tracestate": b""})
