from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from meshfilters.errors import Refused
from meshfilters.memory import stream_pair
from meshfilters.tls import FAREWELL, Tls
from tests.authority import API, WEB, root
from tests.meeting import FAULTS, ROOT, Meeting


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    return Meeting(tmp_path)


async def test_each_side_proves_its_name_to_the_other(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(), meeting.dial())

    assert meeting.server.connection is not None
    assert meeting.server.connection.identity == WEB
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.version == "TLSv1.3"
    assert meeting.server.connection.tls.alpn == "tulle/1"
    assert meeting.client.stream is not None
    assert meeting.client.stream.tls is not None
    assert meeting.client.stream.tls.peer is not None
    assert meeting.client.stream.tls.peer.identity == API
    assert meeting.server.results == meeting.client.results == ["ok"]


async def test_what_the_filters_do_not_touch_passes_through(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(), meeting.dial())

    assert meeting.server.error is None
    assert meeting.client.error is None


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_client_is_refused_whose_certificate_is(
    meeting: Meeting, fault: str
) -> None:
    make, result, alert = FAULTS[fault]

    await meeting.hold(meeting.tls(), meeting.dial(make(WEB)))

    assert isinstance(meeting.server.error, Refused)
    assert meeting.server.connection is None
    assert meeting.server.results == [result]
    assert alert in str(meeting.client.error)


async def test_a_client_without_a_certificate_is_refused(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(None))

    assert meeting.server.results == ["no_certificate"]
    assert "certificate required" in str(meeting.client.error)


async def test_a_client_without_a_certificate_may_be_let_in(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(client_certificate="optional"), meeting.dial(None))

    assert meeting.client.error is None
    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.identity is None


async def test_a_bad_certificate_is_refused_where_none_would_do(
    meeting: Meeting,
) -> None:
    bad = root("other").issue(uris=[WEB])

    await meeting.hold(meeting.tls(client_certificate="optional"), meeting.dial(bad))

    assert meeting.server.results == ["untrusted"]


async def test_without_roots_no_client_is_asked_for_a_certificate(
    meeting: Meeting,
) -> None:
    await meeting.hold(meeting.tls(clients=None), meeting.dial())

    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.identity is None


async def test_a_servers_certificate_is_none_for_a_client(meeting: Meeting) -> None:
    await meeting.hold(
        meeting.tls(),
        meeting.dial(ROOT.issue(uris=[WEB], usages=[ExtendedKeyUsageOID.SERVER_AUTH])),
    )

    assert meeting.server.results == ["wrong_purpose"]


async def test_a_certificate_may_be_a_little_ahead_of_our_clock(
    meeting: Meeting,
) -> None:
    await meeting.hold(
        meeting.tls(ROOT.issue(uris=[API], starts=10)),
        meeting.dial(ROOT.issue(uris=[WEB], starts=10)),
    )

    assert meeting.server.results == meeting.client.results == ["ok"]


async def test_intermediates_are_sent_along(meeting: Meeting) -> None:
    issuer = ROOT.intermediate()

    await meeting.hold(
        meeting.tls(issuer.issue(uris=[API])), meeting.dial(issuer.issue(uris=[WEB]))
    )

    assert meeting.client.error is None


async def test_a_client_that_speaks_no_protocol_of_ours_is_refused(
    meeting: Meeting,
) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(alpn=("h3",)))

    assert meeting.server.results == ["no_protocol"]
    assert "no application protocol" in str(meeting.client.error)


async def test_a_client_need_not_name_a_protocol(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(), meeting.dial(alpn=()))

    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.alpn is None


async def test_tls_1_2_is_spoken_where_it_is_allowed(
    meeting: Meeting, autojump_clock: trio.testing.MockClock
) -> None:

    dial = meeting.dial(minimum_version=1.2)
    await meeting.hold(meeting.tls(minimum_version=1.2), dial)
    assert meeting.server.results == ["ok"]

    near, far = stream_pair()
    old = SSL.Context(SSL.TLS_CLIENT_METHOD)
    old.set_max_proto_version(SSL.TLS1_2_VERSION)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meeting.accept, meeting.tls(clients=None), far)
        with pytest.raises(trio.BrokenResourceError, match="protocol version"):
            await near.start_tls(old, server_side=False)
    assert meeting.server.results == ["ok", "protocol"]


async def test_plain_text_is_refused_where_tls_is_required(
    meeting: Meeting, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = stream_pair()
    await near.send_all(b"GET / HTTP/1.1\r\n\r\n")

    await meeting.accept(meeting.tls(), far)

    assert "plain text" in str(meeting.server.error)
    assert meeting.server.results == ["plain_refused"]
    assert await near.receive_some() == b""


async def test_plain_text_goes_on_where_tls_is_optional(meeting: Meeting) -> None:
    near, far = stream_pair()
    await near.send_all(b"GET / HTTP/1.1\r\n\r\n")

    await meeting.accept(meeting.tls(mode="optional"), far)

    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is None
    assert meeting.server.results == ["plain"]
    assert await near.receive_some() == b"GET / HTTP/1.1\r\n\r\n"


async def test_tls_is_ended_where_it_is_optional(meeting: Meeting) -> None:
    await meeting.hold(meeting.tls(mode="optional"), meeting.dial())

    assert meeting.server.results == ["ok"]


async def test_tls_passes_through_with_its_server_name_read(meeting: Meeting) -> None:
    near, far = stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meeting.accept, Tls(mode="passthrough"), far)
        dial = meeting.dial(name="api.test")
        await meeting.connect(dial, near)

    # What came back is what the client had sent: a ClientHello, not a ServerHello.
    assert meeting.client.results == ["protocol"]
    assert meeting.server.connection is not None
    assert meeting.server.connection.server_name == "api.test"
    assert meeting.server.connection.tls is None
    assert meeting.server.results == ["passed_through"]


async def test_what_is_no_tls_passes_through_as_well(meeting: Meeting) -> None:
    near, far = stream_pair()
    await near.send_all(b"SSH-2.0-x")

    await meeting.accept(Tls(mode="passthrough"), far)

    assert meeting.server.results == ["plain"]
    assert await near.receive_some() == b"SSH-2.0-x"


async def test_half_a_client_hello_does_not_pass_through(meeting: Meeting) -> None:
    near, far = stream_pair()
    await near.send_all(b"\x16\x03\x01")
    await near.send_eof()

    await meeting.accept(Tls(mode="passthrough"), far)

    assert meeting.server.results == ["protocol"]
    assert meeting.server.connection is None


async def test_a_client_that_leaves_without_a_word_is_counted(
    meeting: Meeting,
) -> None:
    near, far = stream_pair()
    await near.send_eof()

    await meeting.accept(meeting.tls(), far)

    assert meeting.server.results == ["closed"]


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02"])
async def test_a_slow_handshake_is_given_up(
    meeting: Meeting, said: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = stream_pair()
    await near.send_all(said)

    await meeting.accept(meeting.tls(), far)

    assert "handshake timeout" in str(meeting.server.error)
    assert meeting.server.results == ["timeout"]
    assert trio.current_time() == pytest.approx(10 + FAREWELL)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: Tls(certificate=path), "certificate and key go together"),
        (lambda path: Tls(), "mode required needs a certificate"),
        (lambda path: Tls(mode="passthrough", clients=path), "no use for files"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    make: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        make(tmp_path)


def test_its_files_are_checked(meeting: Meeting) -> None:
    missing = meeting.folder / "gone.pem"

    assert not list(meeting.tls().check())
    assert list(meeting.tls(clients=missing).check()) == [
        f"{missing} cannot be read: No such file or directory"
    ]


async def test_a_refused_client_that_breaks_off_is_let_go(meeting: Meeting) -> None:
    near, far = stream_pair()
    await near.send_all(b"GET")
    await near.aclose()

    await meeting.accept(meeting.tls(), far)

    assert meeting.server.results == ["plain_refused"]
