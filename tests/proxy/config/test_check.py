from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import attrs
import pytest

from meshfilters.api import ConnectionFilter, RequestFilter
from meshfilters.env import Env
from proxy.config.check import check, check_destinations, check_files
from proxy.config.model import (
    ByHost,
    ByOriginal,
    Config,
    Listener,
    Placed,
    Service,
    Tracing,
)
from proxy.config.problems import dotted


@attrs.frozen
class Filter:
    outside: ClassVar[dict[str, str]] = {"late": "it says so"}

    file: Path | None = None
    services: tuple[str, ...] = ()

    def destinations(self) -> Iterable[str]:
        return self.services

    def build(self, env: Env) -> RequestFilter:
        raise AssertionError("nothing here is built")


@attrs.frozen
class Mode:
    mode: str

    def build(self, env: Env) -> ConnectionFilter:
        raise AssertionError("nothing here is built")


@attrs.frozen
class Plain:
    pass


def listener(address: str = "127.0.0.1:80", **fields: object) -> Listener:
    given = {"name": "in", "address": (address,), "to": "app", **fields}
    return Listener(**given)  # type: ignore[arg-type]  # whatever the test says


def told(*listeners: Listener, **fields: object) -> list[str]:
    """What is wrong with a configuration that has a service named app."""
    services = fields.pop("services", {"app": Service("app", ("127.0.0.1:9",))})
    named = {each.name: each for each in listeners}
    config = Config(named, services, **fields)  # type: ignore[arg-type]  # as above
    return [f"{dotted(path)}: {wanted}" for path, wanted in check(config)]


def test_a_configuration_that_goes_together_is_right() -> None:
    tracing = Tracing(endpoint="http://127.0.0.1:4318")

    assert told(listener(), admin="127.0.0.1:81", tracing=tracing) == []
    assert told(listener(to=ByHost()), workers="auto") == []


def test_a_proxy_without_listeners_is_refused() -> None:
    assert told() == ["listeners: expected at least one listener"]


@pytest.mark.parametrize("workers", [0, -1, 1025])
def test_workers_are_one_or_more(workers: int) -> None:
    [problem] = told(listener(), workers=workers)

    assert problem.startswith("workers: expected a number from 1 to 1024")


def test_spans_are_sent_to_a_url() -> None:
    [problem] = told(listener(), tracing=Tracing(endpoint="127.0.0.1:4318"))

    assert problem == "tracing.endpoint: expected a URL: http://host:port"


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "a\nb", "a{b}", "a\\b"])
def test_names_can_stand_in_labels(name: str) -> None:
    service = {name: Service(name, ("127.0.0.1:9",))}

    assert told(listener(name=name, to=name), services=service) == [
        f"listeners.{name}: expected a name without spaces, quotes and braces",
        f"services.{name}: expected a name without spaces, quotes and braces",
    ]


def test_a_service_that_is_nowhere_is_told_with_those_that_are() -> None:
    assert told(listener(to="ap")) == [
        "listeners.in.to: no service is named ap; did you mean app?"
    ]
    assert told(listener(to="zzz")) == [
        "listeners.in.to: no service is named zzz; the services are app"
    ]
    assert told(listener(to="zzz"), services={}) == [
        "listeners.in.to: no service is named zzz"
    ]


def test_a_service_has_endpoints_with_ports() -> None:
    services = {
        "app": Service("app", ()),
        "other": Service("other", ("unix:/x", "127.0.0.1:0")),
    }

    assert told(listener(), services=services) == [
        "services.app.endpoints: expected at least one endpoint",
        "services.other.endpoints[1]: expected a port from 1 to 65535",
    ]


def test_a_listener_has_an_address() -> None:
    assert told(attrs.evolve(listener(), address=())) == [
        "listeners.in.address: expected at least one address"
    ]


def test_two_listeners_at_one_address_are_one_too_many() -> None:
    assert told(listener(), listener(name="other")) == [
        "listeners.other.address: 127.0.0.1:80 is the address of listeners.in already"
    ]


def test_the_admin_port_is_nobody_elses() -> None:
    assert told(listener(), admin="127.0.0.1:80") == [
        "listeners.in.address: 127.0.0.1:80 is the address of admin already"
    ]


def test_port_zero_is_another_port_each_time() -> None:
    first, second = (listener("127.0.0.1:0", name=each) for each in "ab")

    assert told(first, second, admin="127.0.0.1:0") == []


def test_a_listener_that_sends_to_itself_is_refused() -> None:
    assert told(listener("127.0.0.1:9")) == [
        "listeners.in.to: app is at 127.0.0.1:9, this listener itself"
    ]


@pytest.mark.parametrize("protocol", ["tls", "opaque"])
def test_opaque_connections_have_neither_hosts_nor_request_filters(
    protocol: str,
) -> None:
    chain = (Placed("plain", Filter()),)

    assert told(listener(to=ByHost(), protocol=protocol, request=chain)) == [
        "listeners.in.to: by: host needs protocol detect, http1, http2 or grpc: "
        "other connections name no host",
        "listeners.in.request: request filters need protocol detect, http1, http2 "
        "or grpc",
    ]
    assert told(listener(protocol=protocol)) == []


@pytest.mark.parametrize("protocol", ["detect", "http1", "http2", "grpc"])
def test_where_requests_may_come_they_may_name_hosts_and_pass_filters(
    protocol: str,
) -> None:
    chain = (Placed("plain", Filter()),)

    assert told(listener(to=ByHost(), protocol=protocol, request=chain)) == []


@pytest.mark.parametrize(
    ("mode", "is_right"),
    [("required", False), ("optional", False), ("passthrough", True)],
)
def test_tls_that_is_passed_through_is_not_ended_by_a_filter(
    mode: str, is_right: bool
) -> None:
    chain = (Placed("tls", Mode(mode)),)
    problems = told(listener(protocol="tls", connection=chain))

    assert (problems == []) == is_right
    assert told(listener(protocol="opaque", connection=chain)) == []


def test_filters_stand_where_they_say_they_must() -> None:
    chain = (Placed("late", Filter()), Placed("early", Filter()))
    service = Service("app", ("127.0.0.1:9",), dial=chain)

    assert told(listener(request=chain), services={"app": service}) == [
        "listeners.in.request[1]: early must be listed before late: it says so",
        "services.app.dial[1]: early must be listed before late: it says so",
    ]


def test_a_draft_causes_no_problems_of_its_own() -> None:
    service = Service("app", None)  # type: ignore[arg-type]  # as a draft has it
    no_address = attrs.evolve(listener(), address=None)  # type: ignore[arg-type]  # as above
    no_target = listener(protocol="opaque", to=None)
    no_protocol = listener(protocol=None, to=ByHost())

    assert told(no_address) == []
    assert told(no_target) == []
    assert told(no_protocol) == []
    assert told(listener(), services={"app": service}) == []


def test_a_filter_names_services_that_there_are() -> None:
    settings = Filter(services=("app", "ap"))

    assert list(check_destinations(settings, ["app"])) == [
        "no service is named ap; did you mean app?"
    ]
    assert list(check_destinations(Plain(), ["app"])) == []


def test_a_filters_files_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").touch()
    monkeypatch.setattr("proxy.config.check.access", lambda file, mode: mode != os.R_OK)
    here = tmp_path / "here"
    wrong = {
        here: f"{here} cannot be read: permission denied",
        tmp_path: f"{tmp_path} is not a file",
        tmp_path / "gone": f"{tmp_path / 'gone'} does not exist",
        tmp_path
        / ("x" * 300): f"{tmp_path / ('x' * 300)} cannot be read: File name too long",
    }

    for file, sentence in wrong.items():
        assert list(check_files(Filter(file=file))) == [(("file",), sentence)]
    monkeypatch.undo()
    assert list(check_files(Filter(file=here))) == []


def test_original_addresses_need_no_service_and_any_protocol() -> None:
    for protocol in ("detect", "grpc", "tls", "opaque"):
        assert told(listener(to=ByOriginal(), protocol=protocol), services={}) == []


def test_the_service_of_original_addresses_has_no_endpoints() -> None:
    by_original = listener(to=ByOriginal())
    one = {"original": Service("original", (), pool_idle=9)}
    other = {"original": Service("original", ("127.0.0.1:9",))}

    assert told(by_original, services=one) == []
    assert told(by_original, services=other) == [
        "services.original.endpoints: with to: {by: original} they are the original "
        "addresses themselves: expected []"
    ]
    assert told(listener(to="original"), services=other) == []
    assert told(listener(to="original"), services=one) == [
        "services.original.endpoints: expected at least one endpoint"
    ]


def test_an_original_address_means_one_service() -> None:
    services = {
        name: Service(name, ("127.0.0.1:9",), addresses=("10.0.0.7:80",))
        for name in ("app", "other")
    }

    assert told(listener(), services=services) == [
        "services.other.addresses[0]: 10.0.0.7:80 is an address of app already"
    ]


def test_nothing_redirects_to_a_path() -> None:
    [problem] = told(listener("unix:/run/x.sock", to=ByOriginal()))

    assert (
        problem
        == "listeners.in.to: by: original needs ports: no rule redirects to a path"
    )


def test_what_means_a_service_that_is_the_listener_itself_is_a_loop() -> None:
    by_original = listener("127.0.0.1:9", to=ByOriginal())
    app = Service("app", ("127.0.0.1:9",), addresses=("10.0.0.7:80",))

    assert told(by_original, services={"app": app}) == [
        "listeners.in.to: app is at 127.0.0.1:9, this listener itself"
    ]
    # Nothing goes there by its address.
    assert told(by_original) == []
