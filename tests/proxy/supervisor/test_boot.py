"""How a child ends is said in a code and, for people, in a line."""

from __future__ import annotations

import faulthandler
import logging
import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest
import trio

from meshfilters.counters import Metrics
from meshfilters.errors import ConfigError
from proxy import logs
from proxy.config.model import Config
from proxy.supervisor import boot
from proxy.supervisor.boot import leaves, run


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The log's lines, instead of standard error."""
    kept = [
        (each, each.handlers[:], each.level, each.propagate)
        for each in map(logging.getLogger, ("", "tulle", "tulle.access"))
    ]
    lines: list[str] = []
    monkeypatch.setattr(logs, "write_line", lambda _, line: lines.append(line))
    monkeypatch.setattr(faulthandler, "enable", lambda file: None)
    yield lines
    for each, handlers, level, propagate in kept:
        each.handlers[:], each.level, each.propagate = handlers, level, propagate


def code_of(error: Exception | None) -> int:
    async def main(handler: logs.Queued) -> None:
        async with trio.open_nursery():
            if error is not None:
                raise error

    return run("worker-0", Config({}, {}), main)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            ConfigError("web.pem: no such file"),
            2,
            "tulle.worker: web.pem: no such file",
        ),
        (PermissionError(13, "no"), 3, "cannot start: [Errno 13] no"),
        (RuntimeError("oops"), 1, "RuntimeError: oops"),
    ],
)
def test_an_error_has_its_code_and_its_line(
    error: Exception, code: int, line: str, written: list[str]
) -> None:
    assert code_of(error) == code

    assert line in "\n".join(written)


def test_no_configuration_error_has_a_traceback(written: list[str]) -> None:
    code_of(ConfigError("a\nb"))

    lines = "\n".join(written).splitlines()
    assert [each.rpartition(": ")[2] for each in lines] == ["a", "b"]


def test_a_supervisor_that_has_gone_is_nothing_to_talk_about(
    written: list[str],
) -> None:
    assert code_of(trio.BrokenResourceError()) == 1

    assert written == []


def test_the_end_of_the_work_is_zero(written: list[str]) -> None:
    assert code_of(None) == 0


def test_the_leaves_of_a_group_are_its_errors() -> None:
    one, two = ValueError(), KeyError()

    assert list(leaves(ExceptionGroup("", [one, ExceptionGroup("", [two])]))) == [
        one,
        two,
    ]


def test_without_a_collector_nobody_sends_spans() -> None:
    config = Config({}, {})

    assert boot._sender(config.tracing, Metrics()) is None


SAYS_MAPPED = """
import ctypes
from proxy.supervisor import boot

class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Heap

def mapped():
    before = libc.mallinfo2().hblks
    part = bytearray(1000 * 1024)
    return libc.mallinfo2().hblks - before

print(mapped())
boot.keep_freed()
print(mapped())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_worker_reuses_the_memory_of_a_bodys_parts() -> None:
    # What the C library maps for a block goes back to the kernel with it, each time.
    command = [sys.executable, "-c", SAYS_MAPPED]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert said.split() == ["1", "0"]
