"""The code on the disk, asked whether it can run a configuration."""

from __future__ import annotations

import io
import sys

import pytest

from proxy.supervisor.rehearsal import main

FILE = """
listeners: {web: {address: "127.0.0.1:0", to: app}}
services: {app: {endpoints: [%s]}}
"""


@pytest.mark.parametrize(
    ("endpoint", "code", "complaint"),
    [('"127.0.0.1:1"', 0, ""), ("nowhere", 2, "mesh.yaml:3")],
)
def test_a_configuration_is_read_and_complained_of(
    endpoint: str,
    code: int,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["rehearsal", "mesh.yaml"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(FILE % endpoint))

    assert main() == code
    told = capsys.readouterr().err
    assert complaint in told
    assert bool(told) == bool(code)
