from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import NEWER, SETUPS, NoTulle, Peer, filled, newer, tulle, tulles
from meshfilters import __version__

NAMES = ("tulle", "envoy", "haproxy", "nginx")


def without(kind: str) -> list[str]:
    return [name for name in NAMES if not list((SETUPS / name).glob(f"{kind}.*"))]


def peer(name: str) -> Peer:
    (suffix,) = {each.suffix for each in (SETUPS / name).iterdir()}
    return Peer(name, suffix.removeprefix("."), (), ())


def test_blanks_are_filled_in_and_nothing_else_is_touched() -> None:
    text = "port <port>; split $request_id { < 3 } {{x}}"

    assert filled(text, {"port": 80}) == "port 80; split $request_id { < 3 } {{x}}"


def test_a_blank_that_nobody_fills_in_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        filled("<nothing>", {})


def test_a_mesh_is_started_from_behind() -> None:
    names = [each.name for each in tulle().files("mesh")]

    assert names == ["inbound.yaml", "outbound.yaml"]


def test_a_mesh_of_http2_is_http2_between_the_two_for_everybody_who_can() -> None:
    able = [name for name in NAMES if peer(name).files("mesh-h2")]
    texts = {
        name: [each.read_text() for each in peer(name).files("mesh-h2")]
        for name in able
    }

    assert able == ["tulle", "envoy", "haproxy"]
    assert all("protocol: http2" in each for each in texts["tulle"])
    assert all("alpn_protocols: [h2]" in each for each in texts["envoy"])
    assert all("alpn h2" in each for each in texts["haproxy"])


def test_a_mesh_for_grpc_has_setups_of_its_own() -> None:
    names = [each.name for each in tulle().files("grpc")]

    assert names == ["grpc-inbound.yaml", "grpc-outbound.yaml"]


def test_another_python_is_in_the_name_and_has_the_same_setups() -> None:
    other = tulle(sys.executable)

    assert other.name == f"tulle {platform.python_version()}"
    assert other.files("http") == tulle().files("http")


def test_pythons_of_one_version_are_told_apart() -> None:
    name = f"tulle {platform.python_version()}"

    names = [each.name for each in tulles([sys.executable, sys.executable])]

    assert names == ["tulle", name, f"{name} (2)"]


def test_the_newer_python_is_found_in_its_folder(tmp_path: Path) -> None:
    python = tmp_path / NEWER
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)

    (found,), said = newer(tmp_path)

    assert found.command[0] == str(python)
    assert found.is_for_first
    assert said.startswith(f"{found.name} is trixie/tulle/bin/python")


def test_a_newer_python_that_is_not_there_is_skipped_and_said_to_be(
    tmp_path: Path,
) -> None:
    found, said = newer(tmp_path)

    assert found == []
    assert said.startswith("Tulle on Python 3.13 is skipped: no trixie/tulle/bin/py")


def test_a_newer_python_without_tulle_is_skipped_too(tmp_path: Path) -> None:
    python = tmp_path / NEWER
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/false")

    found, said = newer(tmp_path)

    assert found == []
    assert "has no Tulle installed" in said


@pytest.mark.parametrize("python", [None, sys.executable])
def test_what_is_installed_is_measured_not_what_the_current_folder_has(
    python: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tulle", "meshfilters"):
        (tmp_path / f"{name}.py").write_text("__version__ = '9.9.9'; print('wrong')")
    monkeypatch.chdir(tmp_path)

    peer = tulle(python)
    runs = [*peer.command[: peer.command.index("proxy")], "--version"]
    done = subprocess.run(runs, capture_output=True, text=True, check=True)

    assert f"version {__version__}" in done.stdout
    assert peer.version() == f"{__version__} on Python {platform.python_version()}"


def test_a_python_without_tulle_is_not_measured(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"No module named 'tulle'\" >&2; exit 1\n")
    python.chmod(0o700)

    with pytest.raises(NoTulle, match="no Tulle installed: No module named 'tulle'"):
        tulle(str(python))


def test_a_python_that_is_not_there_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(NoTulle, match="No such file"):
        tulle(str(tmp_path / "python"))


def test_what_a_peer_cannot_do_has_no_files() -> None:
    assert Peer("nginx", "conf", (), ()).files("tcp") == []


def test_commands_name_the_files_they_are_to_read(tmp_path: Path) -> None:
    peer = Peer("haproxy", "cfg", ("haproxy", "-f", "CONFIGURATION"), ())
    values = {"port": 1, "origin": 2, "folder": tmp_path}

    ((program, option, written),) = peer.commands("tcp", tmp_path, values)

    assert (program, option) == ("haproxy", "-f")
    assert "bind 127.0.0.1:1" in Path(written).read_text()


@pytest.mark.parametrize(
    "kind",
    ["http", "tls", "inbound", "outbound", "h2-h1", "grpc-inbound", "grpc-outbound"],
)
def test_everybody_is_set_up_for_everything_but_bytes(kind: str) -> None:
    assert without(kind) == []


@pytest.mark.parametrize("kind", ["tcp", "h2", "h1-h2", "h2-outbound"])
def test_nginx_takes_no_bytes_and_sends_no_http2_but_grpc(kind: str) -> None:
    assert without(kind) == ["nginx"]


def test_a_version_is_found_in_what_a_program_says() -> None:
    said = "/lib/python3.11/envoy version: 1f2e/1.40.0/Clean/RELEASE/BoringSSL"
    peer = Peer("envoy", "yaml", (), ("echo", said))

    assert peer.version() == "1.40.0"
