"""Descriptors: raised as far as it goes, with a word when that is not far."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from proxy.config.model import Config, Listener
from proxy.supervisor import limits
from proxy.supervisor.limits import TooLow, cores, prepare, warn_of_shrinking


def config(max_connections: int) -> Config:
    listener = Listener("web", ("[::]:0",), "app", max_connections=max_connections)
    return Config({"web": listener}, {})


def limited(monkeypatch: pytest.MonkeyPatch, hard: int) -> list[tuple[int, int]]:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: given.append(limit))
    return given


def test_the_limit_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = limited(monkeypatch, 164)

    prepare(config(100))

    assert given == [(164, 164)]
    assert not caplog.records


def test_too_few_for_all_connections_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limited(monkeypatch, 163)

    prepare(config(100))

    [record] = caplog.records
    assert "163 file descriptors are fewer than the 164" in record.getMessage()


def test_too_few_to_work_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, limits.OWN - 1)

    with pytest.raises(TooLow, match="raise the limit to 64"):
        prepare(config(1))


def test_no_limit_is_enough(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limited(monkeypatch, resource.RLIM_INFINITY)

    prepare(config(10**9))

    assert not caplog.records


@pytest.mark.parametrize(("value", "warnings"), [("0\n", 1), ("1\n", 0), (None, 1)])
def test_shrinking_warns_where_the_kernel_resets(
    value: str | None, warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setting = tmp_path / "tcp_migrate_req"
    if value is not None:
        setting.write_text(value)

    warn_of_shrinking(setting)

    assert len(caplog.records) == warnings


@pytest.mark.parametrize(
    ("quota", "count"),
    [
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("900000 100000", 8),
        ("max 100000", 8),
        (None, 8),
    ],
)
def test_a_container_has_the_cores_it_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str | None, count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(f"{quota}\n")

    assert cores(file) == count
