"""What a worker tells of what is built."""

from __future__ import annotations

import json

import pytest

from proxy.worker.build import Builder, Built
from proxy.worker.shown import chains, statistics
from tests.proxy.worker.making import config


async def test_a_chain_is_told_in_its_order_with_what_it_does(builder: Builder) -> None:
    built = builder.build(config(chain="metrics, {timeout: {head: 9}}"), Built())

    told = json.loads(json.dumps(chains(built)))

    request = told["web"].pop("request")
    assert [each["filter"] for each in request] == ["metrics", "timeout"]
    assert "head=9" in request[1]["settings"]
    assert told["web"] == {
        "address": ["127.0.0.1:4143"],
        "direction": "outbound",
        "protocol": "detect",
        "to": "app",
        "connection": [],
        "dial": {},
    }


async def test_a_services_chain_is_told_where_it_has_one(builder: Builder) -> None:
    service = ", dial: [{tls: {name: app}}]"
    built = builder.build(config(service=service), Built())

    told = chains(built)["web"]

    assert isinstance(told, dict)
    assert [each["filter"] for each in told["dial"]["app"]] == ["tls"]


@pytest.mark.parametrize("to", ["host", "original"])
async def test_where_the_traffic_says_where_it_goes_that_is_told(
    builder: Builder, to: str
) -> None:
    built = builder.build(config(to=f"{{by: {to}}}"), Built())

    told = chains(built)["web"]

    assert isinstance(told, dict)
    assert told["to"] == f"by {to}"


async def test_statistics_are_of_listeners_and_services(builder: Builder) -> None:
    told = json.loads(json.dumps(statistics(builder.build(config(), Built()))))

    (pool,) = told["services"]["app"]
    assert (pool["endpoint"], pool["active"]) == ("127.0.0.1:9000", 0)
    assert told["http"] == {"web": "<Http 0 active 0 idle>"}
    assert told["listeners"] == {"web": []}


async def test_what_speaks_no_http_has_none_to_tell_of(builder: Builder) -> None:
    built = builder.build(config(protocol="opaque"), Built())

    assert statistics(built)["http"] == {}
    told = chains(built)["web"]
    assert isinstance(told, dict)
    assert told["request"] == []
