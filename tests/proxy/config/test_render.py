from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.loader import parse
from proxy.config.render import default_config


@pytest.mark.parametrize(
    ("to", "protocol", "endpoint"),
    [
        ("127.0.0.1:9000", "http1", "127.0.0.1:9000"),
        ("http://127.0.0.1:9000", "http1", "127.0.0.1:9000"),
        ("http://[::1]:9000/", "http1", "[::1]:9000"),
        ("tcp://db.local:5432", "tcp", "db.local:5432"),
        ("unix:/run/app.sock", "http1", "unix:/run/app.sock"),
        ("tcp://unix:/run/app.sock", "tcp", "unix:/run/app.sock"),
    ],
)
def test_the_command_line_stands_for_a_file_that_is_right(
    to: str, protocol: str, endpoint: str
) -> None:
    text = default_config("[::]:8080", to, "127.0.0.1:4191", 2)
    config = parse(text, Path("f"))
    [listener], [service] = config.listeners.values(), config.services.values()

    assert (config.admin, config.workers) == ("127.0.0.1:4191", 2)
    assert (listener.address, listener.protocol) == (("[::]:8080",), protocol)
    assert (listener.to, service.endpoints) == (service.name, (endpoint,))
    assert bool(listener.request) == (protocol == "http1")


def test_without_an_admin_port_there_is_none() -> None:
    text = default_config("127.0.0.1:0", "127.0.0.1:9000")

    assert "admin" not in text
    assert parse(text, Path("f")).admin is None


@pytest.mark.parametrize(
    ("to", "wanted"),
    [
        ("https://127.0.0.1:443", "TLS to the upstream needs a file"),
        ("ftp://127.0.0.1:21", "expected http:// or tcp://, not ftp://"),
        ("http://127.0.0.1:80/api", "expected an address without a path"),
        ("127.0.0.1", "the port is missing"),
        ("127.0.0.1:0", "a port from 1 to 65535"),
    ],
)
def test_a_wrong_target_says_what_is_expected(to: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        default_config("127.0.0.1:0", to)
