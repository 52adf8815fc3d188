"""What is built for a configuration, and what goes on of the one before."""

from __future__ import annotations

import attrs
import pytest

from meshfilters.counters import Metrics
from meshfilters.errors import ConfigError, Refused
from proxy.config.model import ORIGINAL, Config, Placed
from proxy.downstream.detect import Detect
from proxy.downstream.passthrough import Passthrough
from proxy.downstream.tcp import Tcp
from proxy.upstream.original import OriginalService
from proxy.worker.build import Builder, Built
from tests.proxy.worker.making import Noting, Unbuildable, config


def with_requests(config: Config, *placed: Placed) -> Config:
    """The configuration with other filters of requests."""
    web = attrs.evolve(config.listeners["web"], request=placed)
    return attrs.evolve(config, listeners={"web": web})


async def test_what_stays_as_it_is_goes_on(builder: Builder) -> None:
    old = builder.build(config(), Built())

    new = builder.build(config(chain="timeout"), old)

    assert new.services["app"] is old.services["app"]
    assert new.ports["web"].http is old.ports["web"].http
    assert new.ports["web"].requests is not old.ports["web"].requests
    assert new.known == {"app": new.services["app"].service}


async def test_a_filter_that_stays_keeps_running(builder: Builder) -> None:
    old = builder.build(config(chain="timeout, retry"), Built()).ports["web"].requests
    new = builder.build(config(chain="metrics, retry"), Built()).ports["web"].requests

    assert old is not None
    assert new is not None
    assert [each.name for each in new.filters] == ["metrics", "retry"]
    assert new.filters[1] is old.filters[1]


async def test_a_service_of_other_settings_is_another(builder: Builder) -> None:
    old = builder.build(config(), Built())

    new = builder.build(config(service=", pool_idle: 9"), old)

    assert new.services["app"] is not old.services["app"]
    assert new.services["app"].service.settings.pool_idle == 9


@pytest.mark.parametrize(
    ("protocol", "service"),
    [("detect", Detect), ("http1", Detect), ("opaque", Tcp), ("tls", Passthrough)],
)
async def test_what_a_listener_speaks_says_who_serves_it(
    builder: Builder, protocol: str, service: type
) -> None:
    port = builder.build(config(protocol=protocol), Built()).ports["web"]

    assert isinstance(port.connections.service, service)
    assert (port.http is None) == (port.requests is None) == (service is not Detect)


async def test_original_addresses_have_a_service_where_a_listener_needs_it(
    builder: Builder,
) -> None:
    plain = builder.build(config(), Built())
    redirected = builder.build(config(to="{by: original}"), Built())

    assert set(plain.services) == {"app"}
    assert set(redirected.services) == {"app", ORIGINAL}
    assert isinstance(redirected.known[ORIGINAL], OriginalService)


async def test_what_cannot_be_built_closes_what_was_built_for_it_alone(
    builder: Builder,
) -> None:
    kept: list[str] = []
    new: list[str] = []
    noting = Placed("note", Noting(kept))
    standing = builder.build(with_requests(config(), noting), Built())
    broken = (noting, Placed("other", Noting(new)), Placed("bad", Unbuildable()))

    with pytest.raises(ConfigError, match="no such key"):
        builder.build(with_requests(config(), *broken), standing)

    assert (kept, new) == ([], ["web"])


async def test_refused_requests_are_counted(builder: Builder, metrics: Metrics) -> None:
    builder.refused("inbound")(Refused("no"))

    counter = metrics.counter("tulle_http_refused_total", "", ())
    assert counter.values == {("inbound", 403): 1}
