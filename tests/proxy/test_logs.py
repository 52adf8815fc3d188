"""Log lines: nobody's input ends one, and nobody waits for one."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest

from proxy.config.model import Log
from proxy.logs import (
    TOGETHER,
    Direct,
    Json,
    Queued,
    Text,
    adjust,
    configure,
    escaped,
    together,
)


def record(
    message: str, *arguments: object, name: str = "tulle.x"
) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.INFO, "x.py", 1, message, arguments, None)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    return made


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_a_text_line_says_when_how_bad_where_and_what() -> None:
    line = Text("worker-0").format(record("hello %s", "you"))

    assert line == "2023-11-14T22:13:20.250Z INFO worker-0 tulle.x: hello you"


def test_a_json_line_is_one_object() -> None:
    line = Json("worker-0").format(record("a\n%s", "b"))

    values = json.loads(line)
    assert "\n" not in line
    assert (values["message"], values["process"]) == ("a\nb", "worker-0")
    assert values["time"] == "2023-11-14T22:13:20.250Z"


@pytest.mark.parametrize("input", ["a\r\nb", "\x1b[2J", "\x00\x7f\x85", "\u2028\u202e"])
def test_no_control_character_gets_through(input: str) -> None:
    for formatter in (Text("x"), Json("x")):
        assert formatter.format(record("%s", input)).isprintable()


def test_an_escape_says_what_was_there() -> None:
    assert escaped("a\tb\n\x1bé\u2028") == "a\\tb\\n\\x1bé\\u2028"


@pytest.mark.parametrize("kind", [Text, Json])
def test_an_access_line_is_written_as_it_is(kind: type[Text] | type[Json]) -> None:
    line = kind("x").format(record('{"status": 200}', name="tulle.access"))

    assert line == '{"status": 200}'


def test_a_tracebacks_lines_cannot_pass_for_records() -> None:
    failed = record("failed")
    try:
        raise ValueError("a\n2023-11-14T22:13:20.250Z INFO forged")
    except ValueError:
        failed.exc_info = sys.exc_info()

    first, *rest = Text("x").format(failed).splitlines()

    assert first.endswith("failed")
    assert all(line.startswith("    ") for line in rest)
    assert "forged" in json.loads(Json("x").format(failed))["traceback"]


def test_a_queue_that_is_full_drops_and_counts(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    handler = Queued(writing, capacity=2)
    handler.setFormatter(Text("x"))
    for number in range(5):
        handler.emit(record("number %s", number))
    assert handler.dropped == 3

    handler.start()
    handler.finish(5)

    lines = os.read(reading, 10_000).decode().splitlines()
    assert [line.rpartition(": ")[2] for line in lines[:2]] == ["number 0", "number 1"]
    assert "dropped 3 log lines" in lines[2]


def test_lines_are_written_together_as_many_as_a_pipe_takes_whole() -> None:
    lines = [f"{number:03d}" + "é" * 50 for number in range(100)]

    joined = [*together(lines)]

    assert [line for each in joined for line in each.split("\n")] == lines
    sizes = [len(each.encode()) + 1 for each in joined]
    assert max(sizes) <= TOGETHER
    assert len(joined) == 3
    assert [*together(["x" * 5000, "y"])] == ["x" * 5000, "y"]
    assert [*together([])] == []


class NobodyS:
    """A lock that nobody may take."""

    def acquire(self, *how: object) -> bool:
        raise AssertionError

    __enter__ = acquire


def test_a_record_is_queued_without_a_lock(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    handler = Queued(writing)
    handler.setFormatter(Text("x"))
    handler.addFilter(lambda each: each.getMessage() != "unwanted")
    lock, handler.lock = handler.lock, cast(Any, NobodyS())

    answers = [handler.handle(record(each)) for each in ("wanted", "unwanted")]

    handler.lock = lock
    handler.start()
    handler.finish(5)
    assert answers == [True, False]
    assert os.read(reading, 10_000).endswith(b": wanted\n")


def test_a_record_that_cannot_be_formatted_is_said_so(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    handler = Queued(writing)
    handler.setFormatter(Text("x"))
    handler.emit(record("%d", "no number"))

    handler.start()
    handler.finish(5)

    assert b"tulle.x cannot be formatted" in os.read(reading, 10_000)


def test_a_standard_error_that_nobody_reads_is_no_failure(
    capfd: pytest.CaptureFixture[str],
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    handler = Direct(writing)
    handler.setFormatter(Text("x"))

    handler.emit(record("hello"))

    os.close(writing)
    assert capfd.readouterr() == ("", "")  # where logging tells of its own errors


def test_nobody_who_writes_by_himself_waits_for_a_reader(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    handler = Direct(writing)
    handler.setFormatter(Text("x"))
    room = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    os.write(writing, b"." * room)

    for number in range(3):
        handler.emit(record("number %s", number))
    assert handler.dropped == 3

    os.read(reading, room)
    handler.emit(record("number 3"))

    lines = os.read(reading, 10_000).decode().splitlines()
    assert "dropped 3 log lines" in lines[0]
    assert lines[1].endswith("number 3")
    assert handler.dropped == 0


def test_a_long_line_of_the_supervisor_s_is_cut(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    handler = Direct(writing)
    handler.setFormatter(Text("x"))
    room = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    os.write(writing, b"." * (room - TOGETHER))

    handler.emit(record("é" * TOGETHER))

    assert room - len(os.read(reading, 2 * room)) in {0, 1}


@pytest.fixture
def loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("_srcfile", "logThreads", "logMultiprocessing"):
        monkeypatch.setattr(logging, name, getattr(logging, name))
    kept = [
        (each, each.handlers[:], each.level, each.propagate)
        for each in map(logging.getLogger, ("", "tulle", "tulle.access"))
    ]
    yield
    for each, handlers, level, propagate in kept:
        each.handlers[:], each.level, each.propagate = handlers, level, propagate


@pytest.mark.usefixtures("loggers")
def test_level_and_format_are_as_configured() -> None:
    assert configure(Log(level="warning"), "supervisor", queued=False) is None

    assert not logging.getLogger("tulle.x").isEnabledFor(logging.INFO)
    assert logging.getLogger("tulle.access").isEnabledFor(logging.INFO)
    [handler] = logging.getLogger("tulle").handlers
    assert isinstance(handler.formatter, Text)
    adjust(Log(format="json"), "supervisor", handler)
    assert isinstance(handler.formatter, Json)


@pytest.mark.usefixtures("loggers")
def test_a_child_has_a_thread_that_writes() -> None:
    handler = configure(Log(), "worker-0", queued=True)

    assert handler is not None
    handler.finish(5)


@pytest.mark.usefixtures("loggers")
def test_a_record_looks_up_what_is_shown_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(Log(format="json"), "worker-0", queued=False)
    [handler] = logging.getLogger("tulle").handlers
    shown: list[logging.LogRecord] = []
    monkeypatch.setattr(handler, "emit", shown.append)

    logging.getLogger("tulle.x").warning("hello")

    [made] = shown
    assert (made.lineno, made.thread, made.processName) == (0, None, None)
    assert json.loads(handler.format(made))["pid"] == os.getpid()
