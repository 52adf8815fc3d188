from __future__ import annotations

import attrs
import pytest

from meshfilters.api import chain
from meshfilters.counters import Labels
from meshfilters.errors import (
    ClientGone,
    ConnectFailed,
    DeadlineExceeded,
    MeshError,
    Refused,
    UpstreamReset,
)
from meshfilters.exchange import Attempt, Direction
from meshfilters.message import Request, Response
from meshfilters.metrics import MILLISECONDS, Metrics
from meshfilters.order import check_order
from meshfilters.retry import Retry
from meshfilters.split import Split
from meshfilters.testing import Kit, check_filter
from meshfilters.timeout import Timeout

SERVER = "spiffe://example.org/ns/shop/sa/reviews"
CLIENT = "spiffe://example.org/ns/shop/sa/web"


async def asked(kit: Kit, request: Request) -> Request:
    """A request that has been through the filter but is not over."""
    service = chain([Metrics().build(kit.env)], kit.script(Response(200)))
    await service(request)
    request.exchange.attempts.clear()
    return request


def attempted(
    kit: Kit,
    request: Request,
    status: int | None,
    error: MeshError | None = None,
    *,
    to: str = "reviews",
    identity: str | None = SERVER,
) -> Attempt:
    attempt = kit.attempt(request.with_(destination=to))
    attempt.status, attempt.error, attempt.identity = status, error, identity
    return attempt


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
async def test_it_does_what_every_filter_must(direction: Direction) -> None:
    await check_filter(
        lambda env: Metrics().build(attrs.evolve(env, direction=direction))
    )


async def test_nothing_is_counted_before_the_end() -> None:
    kit = Kit()
    await asked(kit, kit.ask())

    assert kit.counts("request_total") == {}


async def test_an_outbound_request_is_counted_by_service_and_server() -> None:
    kit = Kit()
    request = await asked(kit, kit.ask(destination="reviews"))
    attempted(kit, request, 200)
    kit.end(request, 200)

    assert kit.counts("request_total") == {("reviews", SERVER): 1}
    assert kit.counts("response_total") == {
        ("reviews", SERVER, 200, "success", "", ""): 1
    }


async def test_a_request_without_attempt_has_no_server() -> None:
    kit = Kit()
    request = await asked(kit, kit.ask(destination="reviews"))
    kit.end(request, 403, Refused())

    assert kit.counts("response_total") == {
        ("reviews", "", 403, "failure", "", "refused"): 1
    }
    assert kit.counts("route_actual_request_total") == {}


async def test_a_server_without_name_is_an_empty_label() -> None:
    kit = Kit()
    request = await asked(kit, kit.ask(destination="reviews"))
    attempted(kit, request, 200, identity=None)
    kit.end(request, 200)

    assert kit.counts("request_total") == {("reviews", ""): 1}


@pytest.mark.parametrize(
    ("peer", "tls", "client"), [(CLIENT, "true", CLIENT), (None, "no_identity", "")]
)
async def test_an_inbound_request_is_counted_by_service_and_client(
    peer: str | None, tls: str, client: str
) -> None:
    kit = Kit(direction="inbound")
    request = await asked(kit, kit.ask(destination="app", peer=peer))
    attempted(kit, request, 200)
    kit.end(request, 503)

    assert kit.counts("request_total") == {("app", tls, client): 1}
    assert kit.counts("response_total") == {
        ("app", tls, client, 503, "failure", "", ""): 1
    }
    assert kit.counts("route_actual_request_total") == {}


@pytest.mark.parametrize(
    ("status", "error", "grpc_status", "labels"),
    [
        (200, None, None, (200, "success", "", "")),
        (404, None, None, (404, "success", "", "")),
        (500, None, None, (500, "failure", "", "")),
        (200, None, 0, (200, "success", 0, "")),
        (200, None, 14, (200, "failure", 14, "")),
        (200, None, 5, (200, "success", 5, "")),
        (200, UpstreamReset(), None, (200, "failure", "", "upstream reset")),
        (504, DeadlineExceeded("head"), None, (504, "failure", "", "timeout")),
        (None, ClientGone(), None, ("", "failure", "", "client gone")),
    ],
)
async def test_how_a_response_is_classified(
    status: int | None,
    error: MeshError | None,
    grpc_status: int | None,
    labels: Labels,
) -> None:
    kit = Kit()
    request = await asked(kit, kit.ask(destination="reviews"))
    kit.end(request, status, error, grpc_status=grpc_status)

    assert kit.counts("response_total") == {("reviews", "", *labels): 1}


async def test_latency_runs_to_the_last_byte() -> None:
    kit = Kit()
    request = await asked(kit, kit.ask(destination="reviews"))
    kit.advance(0.035)
    kit.end(request, 200)

    (latency,) = kit.metrics.histograms.values()
    assert latency.name == "response_latency_ms"
    assert latency.labels == ("direction", "dst", "server_id", "status_code")
    series = latency.values["reviews", "", 200]
    assert series[-1] == 35
    assert series[MILLISECONDS.index(40)] == sum(series[:-1]) == 1


def test_the_buckets_are_linkerds() -> None:
    assert [int(each) for each in MILLISECONDS] == [
        *(1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 100, 200, 300, 400, 500),
        *(1000, 2000, 3000, 4000, 5000, 10000, 20000, 30000, 40000, 50000),
    ]


async def test_body_bytes_are_counted_both_ways() -> None:
    kit = Kit("metrics")
    request = await asked(kit, kit.ask(destination="reviews"))
    kit.end(request, 200, received=7, sent=1000)

    received = kit.counts("tulle_metrics_request_body_bytes_total")
    sent = kit.counts("tulle_metrics_response_body_bytes_total")
    assert received == {("reviews", ""): 7}
    assert sent == {("reviews", ""): 1000}


async def test_each_attempt_is_counted_where_it_went() -> None:
    kit = Kit()
    request = await asked(kit, kit.ask(destination="reviews"))
    attempted(kit, request, 503, to="v1")
    attempted(kit, request, None, ConnectFailed(), to="v2", identity=None)
    attempted(kit, request, 200, to="v1")
    kit.end(request, 200, grpc_status=0)

    assert kit.counts("request_total") == {("reviews", SERVER): 1}
    assert kit.counts("route_actual_request_total") == {
        ("v1", SERVER): 2,
        ("v2", ""): 1,
    }
    assert kit.counts("route_actual_response_total") == {
        ("v1", SERVER, 503, "failure", "", ""): 1,
        ("v2", "", "", "failure", "", "connect failed"): 1,
        ("v1", SERVER, 200, "success", 0, ""): 1,
    }


async def test_a_dropped_attempt_is_counted_by_the_grpc_status_it_had() -> None:
    kit = Kit()
    request = await asked(kit, kit.ask(destination="cart"))
    attempted(kit, request, 200, to="cart").grpc_status = 14
    attempted(kit, request, 200, to="cart")
    kit.end(request, 200, grpc_status=0)

    assert kit.counts("route_actual_response_total") == {
        ("cart", SERVER, 200, "failure", 14, ""): 1,
        ("cart", SERVER, 200, "success", 0, ""): 1,
    }


async def test_a_dropped_attempt_that_none_followed_keeps_its_grpc_status() -> None:
    kit = Kit()
    request = await asked(kit, kit.ask(destination="cart"))
    attempted(kit, request, 200, to="cart").grpc_status = 14
    kit.end(request, 200, DeadlineExceeded(), grpc_status=4)

    assert kit.counts("route_actual_response_total") == {
        ("cart", SERVER, 200, "failure", 14, ""): 1
    }


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
async def test_only_listed_methods_and_only_of_grpc_are_counted_by_name(
    direction: Direction,
) -> None:
    kit = Kit(direction=direction)
    metrics = Metrics(grpc={"shop.Cart": frozenset({"Add"})})
    upstream = kit.script(*(Response(200) for _ in range(3)))
    service = chain([metrics.build(kit.env)], upstream)
    for target, kind in [
        (b"/shop.Cart/Add", b"application/grpc"),
        (b"/shop.Cart/Drop", b"application/grpc"),
        (b"/shop.Cart/Add", b"application/json"),
    ]:
        request = kit.ask(b"POST", target, headers=[(b"Content-Type", kind)])
        await service(request)
        kit.end(request, 200, grpc_status=0)

    side = "server" if direction == "inbound" else "client"
    assert kit.counts(f"grpc_{side}_handled_total") == {
        ("service", "shop.Cart", "Add", "OK"): 1,
        ("service", "shop.Cart", "other", "OK"): 1,
    }


async def test_without_a_list_there_are_no_series_of_methods() -> None:
    kit = Kit()
    await asked(kit, kit.ask(headers=[(b"Content-Type", b"application/grpc")]))

    names = {name for name, _ in (*kit.metrics.counters, *kit.metrics.histograms)}
    assert not [name for name in names if name.startswith("grpc_")]


async def test_an_attempt_under_way_ends_as_its_exchange_does() -> None:
    kit = Kit()
    request = await asked(kit, kit.ask(destination="reviews"))
    attempted(kit, request, None)
    kit.end(request, 504, DeadlineExceeded())

    assert kit.counts("route_actual_response_total") == {
        ("reviews", SERVER, "", "failure", "", "timeout"): 1
    }


async def test_an_answer_that_a_filter_replaced_is_not_the_attempts() -> None:
    kit = Kit()
    request = await asked(kit, kit.ask(destination="reviews"))
    attempted(kit, request, 200)
    kit.end(request, 403, Refused())

    assert kit.counts("route_actual_response_total") == {
        ("reviews", SERVER, 200, "success", "", ""): 1
    }


async def test_a_failed_attempt_keeps_its_error_whatever_the_client_was_sent() -> None:
    kit = Kit()
    request = await asked(kit, kit.ask(destination="reviews"))
    attempted(kit, request, None, UpstreamReset())
    kit.end(request, 503, Refused())

    assert kit.counts("route_actual_response_total") == {
        ("reviews", SERVER, "", "failure", "", "upstream reset"): 1
    }


async def test_nothing_of_the_clients_choosing_becomes_a_label() -> None:
    kit = Kit()
    request = kit.ask(
        b"BREW", b"/secret", headers=[(b"Host", b"evil")], destination="reviews"
    )
    kit.end(await asked(kit, request), 200)

    seen = [key for each in kit.metrics.counters.values() for key in each.values]
    assert seen
    assert {value for key in seen for value in key} == {"reviews", "", 200, "success"}


async def test_a_split_request_is_counted_under_the_service_asked_for() -> None:
    kit = Kit()
    filters = [Metrics().build(kit.env), Split({"v1": 1}).build(kit.env)]
    request = kit.ask(destination="reviews")

    await chain(filters, kit.script(Response(200)))(request)
    kit.end(request)

    assert kit.counts("request_total") == {("reviews", ""): 1}
    assert kit.counts("route_actual_request_total") == {("v1", ""): 1}


@pytest.mark.parametrize(
    ("name", "other"), [("timeout", Timeout(head=1)), ("retry", Retry())]
)
def test_it_must_be_listed_before(name: str, other: object) -> None:
    wrong = list(check_order({"request": [(name, other), ("metrics", Metrics())]}))

    (problem,) = wrong
    assert problem[:2] == ("request", 1)
    assert problem[2].startswith(f"metrics must be listed before {name}: a request")
