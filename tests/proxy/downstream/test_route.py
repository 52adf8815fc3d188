"""What a listener's ``to`` means, for requests and for connections of any bytes."""

from __future__ import annotations

import attrs
import pytest

from meshfilters.exchange import Connection
from meshfilters.memory import stream_pair
from proxy.config.model import ByHost, ByOriginal, Service
from proxy.downstream.route import opaque_route, requests_route


@attrs.frozen
class Asked:
    """As much of a head as a route looks at."""

    host: bytes
    method: bytes = b"GET"


def service(name: str, *addresses: str) -> dict[str, Service]:
    return {name: Service(name, ("192.0.2.1:80",), addresses=addresses)}


def connection(original: str | None = None) -> Connection:
    stream, _ = stream_pair()
    return Connection(stream, "192.0.2.9:1", "out", "outbound", original=original)


SERVICES = {
    **service("reviews", "10.0.0.7:80", "[fd00::7]:80"),
    **service("web", "[::]:80"),
    **service("mail", "0.0.0.0:25", "[fd00::8]:25"),
    **service("mail6", "[::]:25"),
    **service("plain"),
}


def test_a_name_is_where_everything_goes() -> None:
    named = opaque_route("plain", SERVICES)

    assert requests_route("plain", SERVICES)(Asked(b"web"), connection()) == "plain"  # type: ignore[arg-type]  # no more is looked at
    assert named is not None
    assert named(connection()) == "plain"


def test_a_host_names_a_service_for_requests_alone() -> None:
    route = requests_route(ByHost(), SERVICES)

    assert route(Asked(b"web"), connection()) == "web"  # type: ignore[arg-type]  # as above
    assert route(Asked(b"other"), connection()) is None  # type: ignore[arg-type]  # as above
    assert opaque_route(ByHost(), SERVICES) is None


@pytest.mark.parametrize(
    ("original", "name"),
    [
        ("10.0.0.7:80", "reviews"),
        ("[fd00::7]:80", "reviews"),
        ("10.0.0.8:80", "web"),
        ("[fd00::8]:80", "web"),
        ("10.0.0.7:25", "mail"),
        ("[fd00::8]:25", "mail"),
        ("[fd00::9]:25", "mail6"),
        ("10.0.0.7:8080", "original"),
        ("[fd00::7]:8080", "original"),
        (None, "original"),
    ],
)
def test_the_original_address_means_the_service_that_has_it(
    original: str | None, name: str
) -> None:
    by_original = opaque_route(ByOriginal(), SERVICES)
    route = requests_route(ByOriginal(), SERVICES)

    assert by_original is not None
    assert by_original(connection(original)) == name
    assert route(Asked(b"plain"), connection(original)) == name  # type: ignore[arg-type]  # as above


def test_without_services_everything_goes_on_to_its_address() -> None:
    route = opaque_route(ByOriginal(), {})

    assert route is not None
    assert route(connection("10.0.0.7:80")) == "original"
