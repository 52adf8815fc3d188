from __future__ import annotations

import pytest

from meshfilters.api import chain
from meshfilters.message import Request, Response
from meshfilters.testing import Kit, check_filter
from meshfilters.trace import FIELDS, Trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
W3C = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
UNSAMPLED = (b"traceparent", f"00-{TRACE}-{SPAN}-00".encode())
MALFORMED = (b"traceparent", f"00-{TRACE}-{SPAN}-0g".encode())
DEFERRED = (b"b3", f"{TRACE}-{SPAN}".encode())
STATE = (b"tracestate", b"a=1")
HOST = (b"Host", b"service")


async def sent(
    kit: Kit, *fields: tuple[bytes, bytes], ratio: float | None = None
) -> tuple[Request, Request]:
    """Ask and end; returns the request as asked, and as it came behind the filter."""
    upstream = kit.script(Response(200))
    request = kit.ask(headers=[HOST, *fields])
    await chain([Trace(ratio).build(kit.env)], upstream)(request)
    kit.end(request)
    return request, upstream.requests[0]


async def test_a_request_without_a_context_is_passed_untouched() -> None:
    kit = Kit("trace")
    asked, passed = await sent(kit)

    assert passed is asked
    assert not asked.exchange.is_watched
    assert asked.exchange.timings is None
    assert not kit.spans


async def test_a_sampled_context_is_recorded_whatever_the_ratio() -> None:
    kit = Kit("trace")
    await sent(kit, W3C, ratio=0)

    assert [dict(zip(FIELDS, span, strict=True))["kind"] for span in kit.spans] == [
        "server",
        "client",
    ]
    assert [span[0] for span in kit.spans] == [TRACE, TRACE]


@pytest.mark.parametrize("field", [UNSAMPLED, (b"b3", b"0"), (b"X-B3-Sampled", b"0")])
async def test_a_context_that_is_not_sampled_is_passed_on_as_it_is(
    field: tuple[bytes, bytes],
) -> None:
    kit = Kit("trace")
    asked, passed = await sent(kit, field, STATE, ratio=1)

    assert passed is asked
    assert not asked.exchange.is_watched
    assert not kit.spans


@pytest.mark.parametrize("fields", [(), (DEFERRED,), (MALFORMED,)])
@pytest.mark.parametrize(("ratio", "spans"), [(None, 0), (0.0, 0), (1.0, 2)])
async def test_where_nobody_decided_the_ratio_does(
    fields: tuple[tuple[bytes, bytes], ...], ratio: float | None, spans: int
) -> None:
    kit = Kit("trace")
    await sent(kit, *fields, ratio=ratio)

    assert len(kit.spans) == spans


async def test_about_the_ratio_of_the_roots_is_sampled() -> None:
    kit = Kit("trace")
    for _ in range(400):
        await sent(kit, ratio=0.25)

    assert 70 * 2 < len(kit.spans) < 130 * 2


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_a_malformed_context_is_not_passed_on_and_its_trace_starts_anew(
    ratio: float,
) -> None:
    kit = Kit("trace")
    asked, passed = await sent(kit, MALFORMED, STATE, ratio=ratio)

    assert passed.headers.raw == [HOST]
    assert asked.headers.raw == [HOST, MALFORMED, STATE]
    assert all(span[0] != TRACE for span in kit.spans)
    roots = [span for span in kit.spans if span[FIELDS.index("parent_id")] == ""]
    assert len(roots) == ratio


@pytest.mark.parametrize("ratio", [-0.1, 1.1])
def test_a_ratio_is_a_share(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio"):
        Trace(ratio)


@pytest.mark.parametrize("ratio", [None, 1.0])
async def test_it_does_what_every_filter_must_do(ratio: float | None) -> None:
    await check_filter(Trace(ratio).build)
