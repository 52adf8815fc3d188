"""Changed code is seen, and read by a new process before it is trusted."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

from proxy.supervisor import upgrade
from proxy.supervisor.upgrade import RESUME, Check, code, resumed, stamp


def finished(check: Check) -> tuple[int, str]:
    code = check.process.wait(30)
    assert check.ended() == code
    return code, check.complaint()


def test_the_code_is_the_house_and_the_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "a_plugin_of_one_file.py"
    plugin.write_text("x = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()

    before = code({"a_plugin_of_one_file"})
    assert str(Path(upgrade.__file__)) in before
    assert before[str(plugin)] == stamp(plugin)
    plugin.write_text("x = 12")

    assert code({"a_plugin_of_one_file"}) != before
    del sys.modules["a_plugin_of_one_file"]


def test_a_file_that_is_not_there_has_a_stamp_too(tmp_path: Path) -> None:
    assert stamp(tmp_path / "none") == (0, 0)


@pytest.mark.slow
def test_a_configuration_that_works_passes(tmp_path: Path) -> None:
    text = """
    listeners: {web: {address: "127.0.0.1:0", to: app}}
    services: {app: {endpoints: ["127.0.0.1:1"]}}
    """

    assert finished(Check.start(text, tmp_path / "mesh.yaml")) == (0, "")


@pytest.mark.slow
def test_a_configuration_that_does_not_work_is_complained_of(tmp_path: Path) -> None:
    code, complaint = finished(Check.start("listeners: 3", tmp_path / "mesh.yaml"))

    assert code == 2
    assert "mesh.yaml" in complaint


def test_a_check_can_be_given_up(tmp_path: Path) -> None:
    check = Check.start("", tmp_path / "mesh.yaml")

    check.stop()

    assert check.ended() == -9
    assert check.output.closed


def test_what_was_left_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = os.memfd_create("test")
    os.write(memory, json.dumps({"text": "x"}).encode())
    monkeypatch.setenv(RESUME, str(memory))

    assert resumed() == {"text": "x"}
    assert resumed() is None
