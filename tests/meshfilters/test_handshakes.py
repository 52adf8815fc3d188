from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.hashes import SHA256

from meshfilters.errors import ConfigError
from meshfilters.exchange import Endpoint
from meshfilters.handshakes import detail_of, result_of
from meshfilters.memory import stream_pair
from meshfilters.stream import HandshakeBroken, Stream
from meshfilters.testing import Kit
from meshfilters.tls import Tls, TlsDial
from tests.authority import WEB
from tests.meeting import ROOT, Meeting


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    return Meeting(tmp_path)


async def test_new_handshakes_take_changed_certificates(
    meeting: Meeting, autojump_clock: trio.testing.MockClock
) -> None:
    settings = meeting.dial()
    replaced = ROOT.issue(uris=[WEB])
    async with meeting.client.kit:
        dial = settings.build(meeting.client.kit.env)
        replaced.write(meeting.folder, "client")
        await trio.sleep(1.1)
        near, far = stream_pair()

        async def inner(endpoint: Endpoint, /) -> Stream:
            return near

        async with trio.open_nursery() as nursery:
            nursery.start_soon(meeting.accept, meeting.tls(), far)
            stream = await dial(Endpoint("api", "198.51.100.1:80"), inner)
            await meeting.talk(stream)

    assert meeting.server.connection is not None
    assert meeting.server.connection.tls is not None
    assert meeting.server.connection.tls.peer is not None
    sha256 = replaced.certificate.fingerprint(SHA256()).hex()
    assert meeting.server.connection.tls.peer.sha256 == sha256
    assert meeting.client.kit.counts("tulle_tls_reloads_total") == {("loaded",): 1}


def test_a_missing_file_is_named_at_the_start(tmp_path: Path) -> None:
    settings = Tls(certificate=tmp_path / "web.pem", key=tmp_path / "web.key")

    with pytest.raises(ConfigError, match=r"web\.pem cannot be read: No such file"):
        settings.build(Kit().env)
    assert list(settings.check()) == [
        f"{tmp_path / 'web.pem'} cannot be read: No such file or directory"
    ]


def test_good_files_have_no_problems(meeting: Meeting) -> None:
    assert not list(meeting.tls().check())
    assert not list(meeting.dial().check())
    assert not list(Tls(mode="passthrough").check())
    assert not list(TlsDial(name="api.test").check())


def test_openssl_is_not_imported_before_a_filter_is_built() -> None:
    code = (
        "import sys, meshfilters.tls as t; t.TlsDial(name='api.test');"
        "sys.exit(bool({'OpenSSL', 'cryptography'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("error", "result", "detail"),
    [
        (trio.TooSlowError(), "timeout", "handshake timeout"),
        (trio.BrokenResourceError("cut"), "closed", "cut"),
        (HandshakeBroken("expired", "it expired"), "expired", "it expired"),
    ],
)
def test_a_failure_has_a_label_and_words(
    error: Exception, result: str, detail: str
) -> None:
    assert result_of(error) == result
    assert detail_of(error) == detail


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="go together"):
        Tls(certificate=tmp_path)
