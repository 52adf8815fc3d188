from __future__ import annotations

import json

import pytest

from meshfilters.errors import DeadlineExceeded
from meshfilters.message import Request
from meshfilters.propagation import Context
from meshfilters.recording import FIELDS, record
from meshfilters.testing import Kit

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = Context(TRACE, SPAN, is_sampled=True, state="a=1")


@pytest.fixture
def kit() -> Kit:
    return Kit("trace")


def begun(kit: Kit, context: Context = CALLER) -> Request:
    request = kit.ask()
    record(kit.env, request, context)
    return request


def spans(kit: Kit) -> list[dict[str, object]]:
    return [dict(zip(FIELDS, span, strict=True)) for span in kit.spans]


def test_an_exchange_is_a_server_span_below_its_caller(kit: Kit) -> None:
    kit.advance(1)
    request = begun(kit)
    kit.advance(2)
    kit.end(request)

    (span,) = spans(kit)
    assert span["trace_id"] == TRACE
    assert span["parent_id"] == SPAN
    assert span["trace_state"] == "a=1"
    assert (span["kind"], span["name"]) == ("server", "GET")
    assert span["start"] == 1_700_000_001 * 10**9
    assert span["end"] == 1_700_000_003 * 10**9
    assert span["is_error"] is False


def test_each_attempt_is_a_client_span_below_the_server_span(kit: Kit) -> None:
    request = begun(kit)
    first = kit.attempt(request)
    kit.advance(1)
    first.ended, first.status = kit.now, 503
    second = kit.attempt(request)
    kit.advance(1)
    second.status = 200
    kit.end(request)

    server, one, two = spans(kit)
    assert one["parent_id"] == two["parent_id"] == server["span_id"]
    assert len({server["span_id"], one["span_id"], two["span_id"]}) == 3
    assert (one["kind"], one["is_error"]) == ("client", True)
    assert (two["kind"], two["is_error"]) == ("client", False)
    assert one["end"] == two["start"] == 1_700_000_001 * 10**9
    assert two["end"] == server["end"] == 1_700_000_002 * 10**9


def test_each_attempt_sends_its_own_span_as_parent(kit: Kit) -> None:
    request = begun(kit)
    sent = [kit.attempt(request).headers for _ in range(2)]
    kit.end(request)

    for headers, span in zip(sent, spans(kit)[1:], strict=True):
        parent = f"00-{TRACE}-{span['span_id']}-01".encode()
        assert headers.get(b"traceparent") == parent
        assert headers.get(b"tracestate") == b"a=1"
    assert b"traceparent" not in request.headers


def test_a_root_has_a_trace_of_its_own_and_no_parent(kit: Kit) -> None:
    for _ in range(2):
        kit.end(begun(kit, Context()))

    one, two = spans(kit)
    assert one["parent_id"] == two["parent_id"] == ""
    assert one["trace_id"] != two["trace_id"]
    assert len(str(one["trace_id"])) == 32
    assert len(str(one["span_id"])) == 16


def test_an_id_is_never_zero(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit.env.random, "getrandbits", lambda bits: 0)
    kit.end(begun(kit, Context()))

    (span,) = spans(kit)
    assert span["trace_id"] == "0" * 31 + "1"
    assert span["span_id"] == "0" * 15 + "1"


def test_a_failure_is_an_error_with_its_type(kit: Kit) -> None:
    request = begun(kit)
    kit.attempt(request)
    kit.end(request, 504, DeadlineExceeded())

    for span in spans(kit):
        assert span["is_error"] is True
        assert isinstance(span["attributes"], dict)
        assert span["attributes"]["error.type"] == "timeout"


def test_the_runtime_is_asked_for_the_time_in_each_filter(kit: Kit) -> None:
    request = begun(kit)
    assert request.exchange.timings == {}
    request.exchange.timings["retry"] = 0.25
    kit.end(request)

    (span,) = spans(kit)
    assert isinstance(span["attributes"], dict)
    assert span["attributes"]["mesh.filter.retry.seconds"] == 0.25


def test_a_record_goes_through_json_unchanged(kit: Kit) -> None:
    request = begun(kit)
    kit.attempt(request)
    kit.end(request)

    for span in kit.spans:
        assert tuple(json.loads(json.dumps(span))) == span
