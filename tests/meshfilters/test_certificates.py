from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from meshfilters.certificates import Files, Material, Watched
from meshfilters.errors import ConfigError
from meshfilters.testing import Kit
from tests.authority import WEB, root

ROOT = root()
ISSUED = ROOT.issue(uris=[WEB])
OTHER = ROOT.issue(uris=[WEB])
RELOADS = "tulle_tls_reloads_total"
PKCS8 = PrivateFormat.PKCS8
ENCRYPTED = ISSUED.key.private_bytes(
    Encoding.PEM, PKCS8, BestAvailableEncryption(b"secret")
)
DSA = dsa.generate_private_key(1024).private_bytes(Encoding.PEM, PKCS8, NoEncryption())
NOW = ISSUED.certificate.not_valid_before_utc.timestamp() + 60


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(*ISSUED.write(tmp_path, "web"), ROOT.write(tmp_path))


def serial(material: Material) -> int:
    return material.chain[0].serial_number


def test_what_the_files_hold_is_loaded_together(files: Files) -> None:
    material = files.load()

    assert material.chain == (ISSUED.certificate,)
    assert material.roots == (ROOT.certificate,)
    assert not list(files.problems(NOW))


def test_intermediates_and_several_roots_are_loaded(
    files: Files, tmp_path: Path
) -> None:
    below = ROOT.intermediate().issue()
    below.write(tmp_path, "web")
    (tmp_path / "roots.pem").write_bytes(ROOT.pem + root("new").pem)

    material = files.load()

    assert material.chain == (below.certificate, *below.intermediates)
    assert len(material.roots or ()) == 2


def test_files_that_are_not_named_are_not_missed() -> None:
    assert Files(None, None, None).load() == Material()
    assert not list(Files(None, None, None).problems(NOW))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("web.pem", b"", "holds no certificates"),
        ("web.pem", b"garbage", "holds no certificates"),
        ("web.pem", ISSUED.chain_pem[:-40], "is not whole"),
        ("web.pem", ISSUED.chain_pem[:-5], "is not whole"),
        ("web.pem", ISSUED.chain_pem + ROOT.pem[:80], "is not whole"),
        ("web.pem", ISSUED.chain_pem + b"-----BEGIN CERT", "is not whole"),
        ("web.pem", OTHER.chain_pem, "web.key is not the key of"),
        ("web.key", b"", "holds no private key"),
        ("web.key", ISSUED.key_pem[:-40], "holds no private key"),
        ("web.key", ISSUED.chain_pem, "holds no private key"),
        ("web.key", OTHER.key_pem, "web.key is not the key of"),
        ("web.key", ENCRYPTED, "is encrypted"),
        ("web.key", DSA, "neither an RSA, EC nor Ed25519 key"),
        ("roots.pem", b"", "holds no certificates"),
        ("roots.pem", ROOT.pem[:-9], "is not whole"),
    ],
)
def test_a_file_that_cannot_work_is_named(
    files: Files, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=said) as caught:
        files.load()

    assert name in str(caught.value)
    assert list(files.problems(NOW)) == [str(caught.value)]


@pytest.mark.parametrize("name", ["web.pem", "web.key", "roots.pem"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.unlink, "No such file or directory"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    files: Files,
    tmp_path: Path,
    name: str,
    spoil: Callable[[Path], object],
    said: str,
) -> None:
    spoil(tmp_path / name)

    assert list(files.problems(NOW)) == [f"{tmp_path / name} cannot be read: {said}"]


def test_what_has_expired_is_a_problem(files: Files) -> None:
    assert [each.rpartition("/")[2][:17] for each in files.problems(NOW + 7200)] == [
        "web.pem expired o",
        "roots.pem has no ",
    ]


def test_an_expired_root_beside_a_good_one_is_no_problem(
    files: Files, tmp_path: Path
) -> None:
    old = root("old", ends=-1)
    (tmp_path / "roots.pem").write_bytes(old.pem + ROOT.pem)

    assert not list(files.problems(NOW))


def test_a_new_pair_is_taken_at_the_next_look(files: Files, tmp_path: Path) -> None:
    kit = Kit("tls")
    kit.now = NOW - kit.epoch
    watched = Watched(files, serial, kit.env)
    watched.look()
    assert kit.counts(RELOADS) == {}

    OTHER.write(tmp_path, "web")
    watched.look()

    assert watched.value == OTHER.certificate.serial_number
    assert kit.counts(RELOADS) == {("loaded",): 1}
    assert "web.pem" in repr(watched)


def test_half_a_new_pair_is_never_taken(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kit = Kit("tls")
    kit.now = NOW - kit.epoch
    watched = Watched(files, serial, kit.env)

    (tmp_path / "web.pem").write_bytes(OTHER.chain_pem)
    for _ in range(3):
        watched.look()
    kept, said = watched.value, caplog.messages.copy()
    (tmp_path / "web.key").write_bytes(OTHER.key_pem)
    watched.look()

    assert kept == ISSUED.certificate.serial_number
    assert len(said) == 1
    assert "kept the old certificates" in said[0]
    assert watched.value == OTHER.certificate.serial_number
    assert kit.counts(RELOADS) == {("refused",): 1, ("loaded",): 1}


def test_a_file_being_written_is_never_taken(files: Files, tmp_path: Path) -> None:
    kit = Kit("tls")
    kit.now = NOW - kit.epoch
    watched = Watched(files, lambda material: material.roots, kit.env)
    bundle = ROOT.pem + root("new").pem

    with (tmp_path / "roots.pem").open("wb", buffering=0) as being_written:
        for place in range(0, len(bundle), 50):
            being_written.write(bundle[place : place + 50])
            watched.look()
            assert len(watched.value or ()) == 1 or place + 50 >= len(bundle)

    assert len(watched.value or ()) == 2


def test_a_file_that_is_gone_for_a_while_changes_nothing(
    files: Files, tmp_path: Path
) -> None:
    kit = Kit("tls")
    kit.now = NOW - kit.epoch
    watched = Watched(files, serial, kit.env)
    (tmp_path / "web.pem").rename(tmp_path / "away")
    watched.look()
    (tmp_path / "away").rename(tmp_path / "web.pem")
    watched.look()

    assert watched.value == ISSUED.certificate.serial_number


def test_an_expired_certificate_does_not_replace_a_good_one(
    files: Files, tmp_path: Path
) -> None:
    kit = Kit("tls")
    kit.now = NOW - kit.epoch
    watched = Watched(files, serial, kit.env)

    # An hour: the filter's clock stands at the time this module was imported.
    ROOT.issue(uris=[WEB], starts=-7200, ends=-3600).write(tmp_path, "web")
    watched.look()

    assert watched.value == ISSUED.certificate.serial_number
    assert kit.counts(RELOADS) == {("refused",): 1}


def test_a_replaced_symlink_is_seen_as_kubernetes_swaps_it(tmp_path: Path) -> None:
    for folder, issued in (("1", ISSUED), ("2", OTHER)):
        (tmp_path / folder).mkdir()
        issued.write(tmp_path / folder, "web")
    data = tmp_path / "data"
    data.symlink_to("1")
    kit = Kit("tls")
    kit.now = NOW - kit.epoch
    files = Files(data / "web.pem", data / "web.key", None)
    watched = Watched(files, serial, kit.env)

    (tmp_path / "next").symlink_to("2")
    os.replace(tmp_path / "next", data)
    watched.look()

    assert watched.value == OTHER.certificate.serial_number


async def test_it_looks_every_second(
    files: Files, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    kit = Kit("tls")
    kit.now = NOW - kit.epoch
    watched = Watched(files, serial, kit.env)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.run)
        OTHER.write(tmp_path, "web")
        await trio.sleep(1.01)
        nursery.cancel_scope.cancel()

    assert watched.value == OTHER.certificate.serial_number


def test_it_cannot_begin_with_files_that_cannot_work(
    files: Files, tmp_path: Path
) -> None:
    (tmp_path / "web.key").unlink()

    with pytest.raises(ConfigError, match=r"web\.key cannot be read"):
        Watched(files, serial, Kit("tls").env)
