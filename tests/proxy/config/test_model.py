from __future__ import annotations

import pytest

from proxy.config.model import Config, Http, Http2, Listener, Service, Tracing


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tracing(ratio=1.1),
        lambda: Tracing(ratio=-0.1),
        lambda: Http(max_headers=0),
        lambda: Http(max_body=-1),
        lambda: Http(head_timeout=0),
        lambda: Http2(max_streams=0),
        lambda: Http2(stream_window=0),
        lambda: Http2(stream_window=2**31),
        lambda: Http2(connection_window=65_534),
        lambda: Http2(connection_window=2**31),
        lambda: Http2(max_frame=16_383),
        lambda: Http2(max_frame=2**24),
        lambda: Http2(ping_interval=0),
        lambda: Http2(ping_timeout=0),
        lambda: Http2(max_age=-1),
        lambda: Listener("in", ("127.0.0.1:0",), "app", detect_timeout=0),
        lambda: Listener("in", ("127.0.0.1:0",), "app", max_connections=0),
        lambda: Listener("in", ("127.0.0.1:0",), "app", backlog=2**31),
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


def test_a_connection_may_be_kept_without_pings_or_a_greatest_age() -> None:
    http2 = Http2(ping_interval=None, max_age=None)

    assert (http2.ping_interval, http2.max_age) == (None, None)


def test_a_configuration_is_a_value() -> None:
    assert Config() == Config()
    assert Listener("in", ("a:1",), "app") != Listener("in", ("a:2",), "app")
