"""Entry points are found as importlib.metadata finds them, which costs more."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from proxy.config.entries import Entry, declared

GROUP = "meshfilters.request"


def install(folder: Path, metadata: str, text: str) -> None:
    (folder / metadata).mkdir(parents=True)
    (folder / metadata / "entry_points.txt").write_text(text)


@pytest.mark.parametrize(
    "group", ["meshfilters.connection", GROUP, "console_scripts", "pytest11"]
)
def test_what_is_installed_here_is_found(group: str) -> None:
    expected = sorted((each.name, each.value) for each in entry_points(group=group))

    found = [(each.name, each.value) for each in declared([group])[group]]

    assert expected
    assert found == expected


@pytest.mark.parametrize("kind", ["idle-1.0.dist-info", "Idle.egg-info"])
def test_only_lines_of_the_groups_that_are_asked_for_count(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"[other]\na = b:C\n\n[{GROUP}]\n# idle = no:No\n idle=idle_filter:Idle\n"
    install(tmp_path, kind, text)
    monkeypatch.setattr("sys.path", [str(tmp_path)])

    found = declared([GROUP])

    assert found == {GROUP: [Entry("idle", "idle_filter:Idle", str(tmp_path / kind))]}


def test_the_distribution_that_is_imported_hides_others_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    install(first, "My_Idle-2.0.dist-info", f"[{GROUP}]\nidle = new:Idle\n")
    install(second, "my.idle-1.0.dist-info", f"[{GROUP}]\nidle = old:Idle\n")
    monkeypatch.setattr("sys.path", [str(first), str(second)])

    assert [each.value for each in declared([GROUP])[GROUP]] == ["new:Idle"]


def test_what_cannot_be_read_declares_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare-1.0.dist-info").mkdir()
    archive = tmp_path / "python.zip"
    archive.write_bytes(b"")
    monkeypatch.setattr("sys.path", [str(tmp_path), str(archive), "nowhere"])

    assert declared([GROUP]) == {GROUP: []}


@pytest.mark.parametrize(
    "value", ["pathlib:Path", "pathlib : Path [more]", "pathlib:Path.cwd"]
)
def test_an_entry_is_imported(value: str) -> None:
    expected = Path.cwd if value.endswith("cwd") else Path

    assert Entry("it", value).load() == expected


@pytest.mark.parametrize("value", ["pathlib", "pathlib:Nothing", ":Path", ""])
def test_what_names_no_object_is_not_imported(value: str) -> None:
    with pytest.raises((AttributeError, ValueError)):
        Entry("it", value).load()


def test_a_distribution_is_told_with_its_version(tmp_path: Path) -> None:
    metadata = tmp_path / "idle-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: Idle\nVersion: 1.0\n")

    assert Entry("idle", "idle:Idle", str(metadata)).distribution == "Idle 1.0"
    assert Entry("idle", "idle:Idle").distribution == "no distribution"
