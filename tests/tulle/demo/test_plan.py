from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from proxy.config import load
from tulle.demo.authority import Authority
from tulle.demo.plan import (
    EDGES,
    PORTS,
    ROOTS,
    SIDECARS,
    Addresses,
    config,
    identity,
    weights,
)

APPS = {name: f"127.0.0.1:{9000 + place}" for place, name in enumerate(SIDECARS[1:])}


@pytest.fixture
def addresses() -> Addresses:
    return Addresses.over(APPS, count(7000))


def test_there_are_exactly_as_many_ports_as_are_needed() -> None:
    Addresses.over(APPS, iter(range(7000, 7000 + PORTS)))
    with pytest.raises(StopIteration):
        Addresses.over(APPS, iter(range(7000, 7000 + PORTS - 1)))


@pytest.mark.parametrize("workload", SIDECARS)
def test_every_sidecars_file_is_one_that_the_proxy_takes(
    workload: str, addresses: Addresses, tmp_path: Path
) -> None:
    authority = Authority.create()
    authority.write_root(tmp_path / ROOTS)
    authority.issue(identity(workload), tmp_path, workload)
    file = tmp_path / f"{workload}.yaml"
    file.write_text(config(workload, addresses))

    loaded = load(file)

    assert loaded.admin == addresses.admin[workload]
    assert set(loaded.listeners) == {
        *(["inbound"] if workload in addresses.inbound else []),
        *(edge.listener for edge in EDGES if edge.client == workload),
    }


def test_every_hop_is_mutual_tls_but_the_one_to_the_own_application(
    addresses: Addresses, tmp_path: Path
) -> None:
    authority = Authority.create()
    authority.write_root(tmp_path / ROOTS)
    authority.issue(identity("web"), tmp_path, "web")
    file = tmp_path / "web.yaml"
    file.write_text(config("web", addresses))

    loaded = load(file)

    dialled = {
        name: [each.name for each in service.dial]
        for name, service in loaded.services.items()
    }
    called = ("api", "api-v1", "api-v2", "rates")
    assert dialled == {"app": [], **{name: ["tls"] for name in called}}
    assert [each.name for each in loaded.listeners["inbound"].connection] == ["tls"]
    assert f"name: {identity('api-v1')}" in file.read_text().replace("'", "")


def test_both_versions_of_api_are_one_account() -> None:
    assert (
        identity("api-v1") == identity("api-v2") == "spiffe://demo.tulle/ns/demo/sa/api"
    )
    assert identity("web") == "spiffe://demo.tulle/ns/demo/sa/web"


def test_the_shares_are_read_from_the_file_somebody_may_have_edited(
    addresses: Addresses,
) -> None:
    text = config("web", addresses)
    edited = text.replace("api-v1: 90, api-v2: 10", "api-v1: 1, api-v2: 3")

    assert weights(text) == {"api-v1": 0.9, "api-v2": 0.1}
    assert weights(edited) == {"api-v1": 0.25, "api-v2": 0.75}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "listeners: [",
        "listeners: {outbound: {request: [split]}}",
        "listeners: {outbound: {request: [{split: {weights: {a: x}}}]}}",
        "listeners: {outbound: {request: [{split: {weights: {a: 0}}}]}}",
    ],
)
def test_a_file_that_is_half_written_says_nothing(text: str) -> None:
    assert weights(text) is None


def test_a_chain_without_a_split_has_no_shares(addresses: Addresses) -> None:
    assert weights(config("client", addresses)) == {}
