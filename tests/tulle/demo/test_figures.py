from __future__ import annotations

from itertools import pairwise

import pytest

from tulle.demo.figures import Moment, figures, quantile
from tulle.demo.plan import EDGES
from tulle.demo.scrape import parse

INF = float("inf")
WEB, API = (f"spiffe://demo.tulle/ns/demo/sa/{each}" for each in ("web", "api"))


def pages(requests: int, v1: int, v2: int, v2_failed: int) -> Moment:
    """What was counted once so many requests and attempts were made."""
    sent = f'direction="outbound",server_id="{API}"'
    actual = f"route_actual_response_total{{{sent}"
    web = f"""
        request_total{{{sent},dst="api"}} {requests}
        response_total{{{sent},dst="api",classification="success"}} {requests}
        route_actual_request_total{{{sent},dst="api-v1"}} {v1}
        route_actual_request_total{{{sent},dst="api-v2"}} {v2}
        {actual},dst="api-v1",classification="success"}} {v1}
        {actual},dst="api-v2",classification="success"}} {v2 - v2_failed}
        {actual},dst="api-v2",classification="failure"}} {v2_failed}
        tulle_retry_retries_total{{direction="outbound",dst="api"}} {v2_failed}
        response_latency_ms_bucket{{{sent},dst="api",le="10.0"}} {requests}
        response_latency_ms_bucket{{{sent},dst="api",le="+Inf"}} {requests}
        request_total{{direction="inbound",client_id="spiffe://else"}} {requests}
        response_latency_ms_bucket{{direction="inbound",dst="app",le="1.0"}} {requests}
    """
    api = f"""
        request_total{{direction="inbound",dst="app",client_id="{WEB}"}} {v1}
        response_latency_ms_bucket{{direction="inbound",dst="app",le="2.0"}} {v1}
        response_latency_ms_bucket{{direction="inbound",dst="app",le="+Inf"}} {v1}
    """
    texts = {"client": "", "web": web, "api-v1": api, "api-v2": ""}
    read = {
        name: parse("\n".join(map(str.strip, text.splitlines())))
        for name, text in texts.items()
    }
    return Moment(float(requests), read)


def test_an_edge_is_what_happened_between_two_moments() -> None:
    earlier, later = pages(100, 90, 10, 5), pages(300, 270, 40, 15)

    edge = figures(EDGES[1], earlier, later)

    assert edge.name == "web → api"
    assert edge.per_second == 1.0
    assert edge.before == pytest.approx(200 / 210)
    assert edge.after == 1.0
    assert edge.retries == pytest.approx(10 / 200)
    assert edge.latency == pytest.approx((5.0, 9.5, 9.9))
    assert (edge.client, edge.server) == (WEB, API)


def test_the_split_is_of_attempts_and_each_part_tells_its_own_success() -> None:
    v1, v2 = figures(EDGES[1], pages(100, 90, 10, 5), pages(300, 270, 40, 15)).parts

    assert (v1.name, v2.name) == ("api-v1", "api-v2")
    assert v1.share == pytest.approx(180 / 210)
    assert v2.share == pytest.approx(30 / 210)
    assert v1.per_second == pytest.approx(180 / 200)
    assert v1.success == 1.0
    assert v2.success == pytest.approx(20 / 30)
    assert v1.latency == pytest.approx((1.0, 1.9, 1.98))
    assert v2.latency == (None, None, None)


def test_where_nothing_happened_there_is_no_share_of_it() -> None:
    same = pages(100, 90, 10, 5).pages
    edge = figures(EDGES[1], Moment(1, same), Moment(2, same))

    assert edge.per_second == 0
    assert edge.before is edge.after is edge.parts[0].share is None
    assert edge.latency == (None, None, None)


@pytest.mark.parametrize(
    ("q", "value"), [(0.01, 0.1), (0.1, 1.0), (0.5, 5.0), (0.8, 8.0), (0.99, 10.0)]
)
def test_a_quantile_lies_evenly_in_its_bucket(q: float, value: float) -> None:
    counts = {1.0: 10.0, 9.0: 90.0, 10.0: 90.0, INF: 100.0}

    assert quantile(counts, q) == pytest.approx(value)


def test_quantiles_never_fall() -> None:
    counts = {1.0: 3.0, 2.0: 3.0, 5.0: 40.0, 50.0: 41.0, INF: 42.0}
    values = [quantile(counts, each / 100) or 0.0 for each in range(1, 101)]

    assert all(one <= other for one, other in pairwise(values))


@pytest.mark.parametrize("counts", [{}, {1.0: 0.0, INF: 0.0}])
def test_of_nothing_there_is_no_quantile(counts: dict[float, float]) -> None:
    assert quantile(counts, 0.5) is None
