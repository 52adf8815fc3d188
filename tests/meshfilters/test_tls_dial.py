from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from meshfilters.errors import ConfigError, HandshakeFailed
from meshfilters.exchange import Endpoint
from meshfilters.memory import stream_pair
from meshfilters.tls_dial import TlsDial
from tests.authority import API, WEB, Issued
from tests.meeting import FAULTS, ROOT, Meeting


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    return Meeting(tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_upstream_is_refused_whose_certificate_is(
    meeting: Meeting, fault: str
) -> None:
    make, result, alert = FAULTS[fault]

    await meeting.hold(meeting.tls(make(API)), meeting.dial())

    assert isinstance(meeting.client.error, HandshakeFailed)
    assert meeting.client.error.status == 502
    assert meeting.client.stream is None
    assert meeting.client.results == [result]
    assert meeting.server.connection is None
    assert alert in str(meeting.server.error)
    assert meeting.server.results == ["alert"]


async def test_a_clients_certificate_is_none_for_a_server(meeting: Meeting) -> None:
    await meeting.hold(
        meeting.tls(ROOT.issue(uris=[API], usages=[ExtendedKeyUsageOID.CLIENT_AUTH])),
        meeting.dial(),
    )

    assert meeting.client.results == ["wrong_purpose"]


WRONG_NAMES = {
    "another workload": ROOT.issue(uris=[f"{API}-2"]),
    "in other letters": ROOT.issue(uris=[API.replace("api", "Api")]),
    "with a slash behind it": ROOT.issue(dns=["x.test"], uris=[f"other:{API}/"]),
    "its DNS name only": ROOT.issue(dns=["api.test"]),
    "in its subject only": ROOT.issue(common_name=API),
}


@pytest.mark.parametrize("issued", WRONG_NAMES.values(), ids=list(WRONG_NAMES))
async def test_an_upstream_of_another_name_is_refused(
    meeting: Meeting, issued: Issued
) -> None:
    await meeting.hold(meeting.tls(issued), meeting.dial())

    assert isinstance(meeting.client.error, HandshakeFailed)
    assert f"wanted '{API}'" in str(meeting.client.error)
    assert meeting.client.results == ["wrong_name"]
    assert meeting.client.stream is None


async def test_a_dns_name_is_wanted_and_sent_as_the_server_name(
    meeting: Meeting,
) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(name="api.test"))

    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.server_name == "api.test"


async def test_the_endpoints_host_is_the_name_where_none_is_given(
    meeting: Meeting,
) -> None:
    endpoint = Endpoint("api", "198.51.100.1:443", "api.test")

    await meeting.hold(meeting.tls(), meeting.dial(name=None), endpoint)

    assert meeting.client.results == ["ok"]
    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.server_name == "api.test"


async def test_without_any_name_to_prove_nobody_is_trusted(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(name=None))

    assert meeting.client.results == ["wrong_name"]


async def test_another_server_name_may_be_sent_than_is_wanted(
    meeting: Meeting,
) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(server_name="edge.test"))

    assert meeting.client.results == ["ok"]
    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.server_name == "edge.test"


async def test_a_slow_upstream_is_given_up(
    meeting: Meeting, autojump_clock: trio.testing.MockClock
) -> None:
    near, _ = stream_pair()

    await meeting.connect(meeting.dial(handshake=3), near)

    assert isinstance(meeting.client.error, HandshakeFailed)
    assert meeting.client.results == ["timeout"]
    assert trio.current_time() == pytest.approx(3)


async def test_an_upstream_that_speaks_plain_text_is_refused(meeting: Meeting) -> None:
    near, far = stream_pair()
    await far.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    await meeting.connect(meeting.dial(), near)

    assert isinstance(meeting.client.error, HandshakeFailed)
    assert meeting.client.results == ["protocol"]


async def test_a_cancelled_dial_closes_its_stream(meeting: Meeting) -> None:
    near, _ = stream_pair()

    with trio.move_on_after(0) as scope:
        await meeting.connect(meeting.dial(), near)

    assert scope.cancelled_caught
    assert near.is_closed


async def test_a_weak_key_is_refused_at_the_start(meeting: Meeting) -> None:
    weak = ROOT.issue(uris=[WEB], key=rsa.generate_private_key(65537, 1024))

    with pytest.raises(ConfigError, match="key too small"):
        meeting.dial(weak).build(meeting.client.kit.env)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: TlsDial(key=path), "certificate and key go together"),
        (lambda path: TlsDial(name="spiffe://"), "neither a SPIFFE ID nor"),
        (lambda path: TlsDial(name="10.0.0.1"), "neither a SPIFFE ID nor"),
        (lambda path: TlsDial(name="*.test"), "neither a SPIFFE ID nor"),
        (lambda path: TlsDial(server_name=API), "no DNS name"),
        (lambda path: TlsDial(alpn=("",)), "alpn"),
        (lambda path: TlsDial(minimum_version=1.1), "minimum_version"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    make: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        make(tmp_path)


def test_its_files_are_checked(meeting: Meeting) -> None:
    missing = meeting.folder / "gone.pem"

    assert not list(meeting.dial().check())
    assert list(meeting.dial(roots=missing).check()) == [
        f"{missing} cannot be read: No such file or directory"
    ]
