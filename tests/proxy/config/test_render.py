from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.loader import parse
from proxy.config.render import default_config


@pytest.mark.parametrize(
    ("to", "listens", "dials", "endpoint"),
    [
        ("127.0.0.1:9000", "detect", "auto", "127.0.0.1:9000"),
        ("http://127.0.0.1:9000", "detect", "http1", "127.0.0.1:9000"),
        ("http://[::1]:9000/", "detect", "http1", "[::1]:9000"),
        ("h2c://127.0.0.1:9000", "detect", "http2", "127.0.0.1:9000"),
        ("grpc://127.0.0.1:9000", "detect", "grpc", "127.0.0.1:9000"),
        ("https://api.test:443/", "detect", "auto", "api.test:443"),
        ("tcp://db.local:5432", "opaque", "auto", "db.local:5432"),
        ("unix:/run/app.sock", "detect", "auto", "unix:/run/app.sock"),
        ("tcp://unix:/run/app.sock", "opaque", "auto", "unix:/run/app.sock"),
    ],
)
def test_the_command_line_stands_for_a_file_that_is_right(
    to: str, listens: str, dials: str, endpoint: str
) -> None:
    text = default_config("[::]:8080", to, "127.0.0.1:4191", 2)
    config = parse(text, Path("f"))
    [listener], [service] = config.listeners.values(), config.services.values()

    assert (config.admin, config.workers) == ("127.0.0.1:4191", 2)
    assert (listener.address, listener.protocol) == (("[::]:8080",), listens)
    assert (listener.to, service.endpoints) == (service.name, (endpoint,))
    assert service.protocol == dials
    assert [each.name for each in service.dial] == ["tls"] * to.startswith("https:")
    assert bool(listener.request) == (listens == "detect")


def test_without_an_admin_port_there_is_none() -> None:
    text = default_config("127.0.0.1:0", "127.0.0.1:9000")

    assert "admin" not in text
    assert parse(text, Path("f")).admin is None


@pytest.mark.parametrize(
    ("to", "wanted"),
    [
        ("https://127.0.0.1:443", "expected a host name, which the certificate"),
        ("https://unix:/run/app.sock", "expected a host name, which the certificate"),
        ("ftp://127.0.0.1:21", "one of http://, h2c://, .*, tcp://; not ftp://"),
        ("http://127.0.0.1:80/api", "expected an address without a path"),
        ("127.0.0.1", "the port is missing"),
        ("127.0.0.1:0", "a port from 1 to 65535"),
    ],
)
def test_a_wrong_target_says_what_is_expected(to: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        default_config("127.0.0.1:0", to)
