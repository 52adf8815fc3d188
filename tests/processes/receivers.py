"""OTLP receivers that others wrote, run as processes, and what they printed read back."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rotel

WAIT = 20

Found = list[dict[str, Any]]
"""Spans in the order they were printed."""


def free_port() -> int:
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        port: int = once.getsockname()[1]
        return port


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        text=True,
    )
    # Reading its output ends when it does, so nothing here can wait for ever.
    watchdog = threading.Timer(WAIT, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """Lines of a process, up to one that has ``wanted``; an error if it ends before."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if wanted in line:
            return lines
    raise AssertionError(f"it ended without {wanted!r}:\n{''.join(lines)}")


def start_oteltap(port: int) -> list[str]:
    return [sys.executable, "-m", "oteltap", "--port", str(port)]


def start_rotel(http: int, grpc: int) -> list[str]:
    assert rotel.__file__ is not None
    return [
        *(str(Path(rotel.__file__).with_name("rotel-agent")), "start"),
        *("--otlp-http-endpoint", f"127.0.0.1:{http}"),
        *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"),
        *("--exporter", "blackhole"),
        *("--debug-log", "traces", "--debug-log-verbosity", "detailed"),
    ]


def parse_oteltap(lines: list[str]) -> Found:
    """One span a line, in OTLP's JSON."""
    return [
        {
            "trace": span["traceId"],
            "id": span["spanId"],
            "parent": span["parentSpanId"],
            "kind": {2: "SERVER", 3: "CLIENT"}[span["kind"]],
            "is_error": span["status"]["code"] == 2,
            "attributes": {
                each["key"]: str(*each["value"].values()) for each in span["attributes"]
            },
        }
        for span in map(json.loads, lines)
    ]


def parse_rotel(lines: list[str]) -> Found:
    """Blocks of text, each begun by ``Span #0``."""
    blocks = re.split(r"^Span #\d+$", "".join(lines), flags=re.MULTILINE)[1:]
    return [
        {
            "trace": facts["Trace ID"],
            "id": facts["ID"],
            "parent": facts["Parent ID"],
            "kind": facts["Kind"].removeprefix("SPAN_KIND_"),
            "is_error": facts["Status code"] == "STATUS_CODE_ERROR",
            "attributes": dict(
                re.findall(r"-> (\S+): \w+\((.*)\)$", block, re.MULTILINE)
            ),
        }
        for block in blocks
        for facts in [dict(re.findall(r"^ +(\w[\w ]*?) *: (.*)$", block, re.MULTILINE))]
    ]
