"""Lines on standard error: text or JSON, one a record, never in the traffic's way.

What a client sent can never end a line or move a terminal's cursor: control characters
are written as escapes. ``tulle.access`` writes its lines as they are (escaped), without
time and level: they have their own.

In a child, records go into a bounded queue that a thread writes out; a full queue
drops and counts. The supervisor forks, so it has no thread: it writes by itself, and
drops and counts what would have it wait.
"""

from __future__ import annotations

import json
import logging
import os
import select
import threading
import time
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import Literal

from proxy.config.model import Log

ACCESS = "tulle.access"
STDERR = 2
CAPACITY = 10_000
"""Lines that may wait: at 200 bytes each 2 MB, and a second of a busy worker's."""

GATHERING = 0.01
"""Seconds in which lines come together to be written at once: taking the interpreter from
the traffic for each of them costs more than the line."""

TOGETHER = 4096
"""Bytes that a pipe takes whole: those of other processes don't come between."""

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F))
}
_CONTROLS |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def escaped(text: str) -> str:
    """The text on one line, without characters that a terminal would obey."""
    return text if text.isprintable() else text.translate(_CONTROLS)


class Text(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO worker-0 tulle.supervisor: message``."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        message = escaped(record.getMessage())
        if record.name == ACCESS:
            return message
        where = f"{self._process} {record.name}"
        line = f"{_moment(record)} {record.levelname} {where}: {message}"
        # Behind an indent, a line of a traceback cannot pass for a record.
        more = ["    " + escaped(each) for each in _traceback(record).splitlines()]
        return "\n".join([line, *more])


class Json(logging.Formatter):
    """An object a line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.name == ACCESS:
            return escaped(message)
        values = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "message": message,
        }
        if traceback := _traceback(record):
            values["traceback"] = traceback
        return json.dumps(values)


def _moment(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _traceback(record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[0] is not None:
        return logging.Formatter().formatException(record.exc_info)
    return ""


class Direct(logging.Handler):
    """Writes each record at once, or drops it: who watches and stops never waits."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.dropped = 0
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        if not has_room(self._descriptor):
            self.dropped += 1
            return
        lines = [self.format(record)]
        if self.dropped:
            lines.insert(0, self.format(dropping(self.dropped)))
            self.dropped = 0
        # What a pipe takes whole, it takes at once.
        for each in together(lines):
            if has_room(self._descriptor):
                write_line(self._descriptor, cut(each))
            else:
                self.dropped += 1


class Queued(logging.Handler):
    """Hands records to a thread, and drops them rather than wait."""

    def __init__(self, descriptor: int, capacity: int = CAPACITY) -> None:
        super().__init__()
        self.dropped = 0
        self._descriptor = descriptor
        self._capacity = capacity
        self._reported = 0
        self._queue: SimpleQueue[logging.LogRecord | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="logs", daemon=True)

    def start(self) -> None:
        """To be called after the fork: a thread does not survive one."""
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        # ``emit`` needs no lock, and taking one costs more than the rest of it.
        is_wanted = bool(self.filter(record))
        if is_wanted:
            self.emit(record)
        return is_wanted

    def emit(self, record: logging.LogRecord) -> None:
        if self._queue.qsize() >= self._capacity:
            self.dropped += 1
        else:
            self._queue.put(record)

    def finish(self, seconds: float) -> None:
        """Write what is left, for at most so long."""
        self._queue.put(None)
        self._thread.join(seconds)

    def _write(self) -> None:
        is_last = False
        while not is_last:
            records = [self._queue.get()]
            if records[0] is not None:
                time.sleep(GATHERING)
            records += [self._queue.get() for _ in range(self._queue.qsize())]
            is_last = None in records
            lines = (self._line(each) for each in records if each is not None)
            for each in together(lines):
                write_line(self._descriptor, each)
            self._report()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except (TypeError, ValueError) as error:
            return f"a log record of {record.name} cannot be formatted: {error}"

    def _report(self) -> None:
        dropped = self.dropped - self._reported
        if dropped and self._queue.empty():
            self._reported += dropped
            write_line(self._descriptor, self.format(dropping(dropped)))


def dropping(count: int) -> logging.LogRecord:
    """What is said of lines that were dropped."""
    text = "dropped %s log lines: standard error is slower than they came"
    arguments = ("tulle.logs", logging.WARNING, __file__, 0, text, (count,))
    return logging.LogRecord(*arguments, None)


def has_room(descriptor: int) -> bool:
    """Whether it takes ``TOGETHER`` bytes at once, or fails."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def together(lines: Iterable[str]) -> Iterator[str]:
    """Lines joined, as many as a pipe takes whole."""
    joined: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode(errors="backslashreplace")) + 1
        if joined and size + length > TOGETHER:
            yield "\n".join(joined)
            joined, size = [], 0
        joined.append(line)
        size += length
    if joined:
        yield "\n".join(joined)


def cut(line: str) -> str:
    """As much of it as goes out together."""
    data = line.encode(errors="backslashreplace")[: TOGETHER - 1]
    return data.decode(errors="ignore")


def write_line(descriptor: int, line: str) -> None:
    """Write it whole; a standard error that nobody reads is no reason to fail."""
    data = line.encode(errors="backslashreplace") + b"\n"
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return


def reserve() -> None:
    """Open /dev/null for what is closed of 0, 1 and 2.

    Otherwise a socket would get the number, and be sent the log.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def configure(log: Log, process: str, *, queued: bool) -> Queued | None:
    """Have the loggers below ``tulle`` write as ``log`` says, and nothing else."""
    # Nobody shows where a line came from, and looking it up is a third of its cost (the
    # Logging HOWTO's "Optimization").
    setattr(logging, "_srcfile", None)  # noqa: B010  # mypy: it is a str
    logging.logThreads = logging.logMultiprocessing = False
    handler = Queued(STDERR) if queued else Direct(STDERR)
    adjust(log, process, handler)
    root = logging.getLogger("tulle")
    root.handlers[:] = [handler]
    root.propagate = False
    # Libraries are heard from warnings on.
    logging.getLogger().handlers[:] = [handler]
    if isinstance(handler, Queued):
        handler.start()
        return handler
    return None


def adjust(log: Log, process: str, handler: logging.Handler) -> None:
    """Take another level and format into use."""
    kinds: dict[Literal["text", "json"], type[Text] | type[Json]]
    kinds = {"text": Text, "json": Json}
    handler.setFormatter(kinds[log.format](process))
    logging.getLogger("tulle").setLevel(log.level.upper())
    logging.getLogger(ACCESS).setLevel(logging.INFO)
