from __future__ import annotations

import pytest

from proxy.config.model import Config, Http, Listener, Service, Tracing


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tracing(ratio=1.1),
        lambda: Tracing(ratio=-0.1),
        lambda: Http(max_headers=0),
        lambda: Http(max_body=-1),
        lambda: Http(head_timeout=0),
        lambda: Listener("in", ("127.0.0.1:0",), "app", max_connections=0),
        lambda: Service("app", ("127.0.0.1:1",), connect_timeout=0),
        lambda: Service("app", ("127.0.0.1:1",), pool_size=-1),
        lambda: Config(grace=0),
        lambda: Config(version=2),
    ],
)
def test_values_out_of_their_range_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="must be"):
        make()


def test_a_configuration_is_a_value() -> None:
    assert Config() == Config()
    assert Listener("in", ("a:1",), "app") != Listener("in", ("a:2",), "app")
