"""Whether what was started answers already."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable

from benchmarks.loads.h2load import request
from benchmarks.loads.load import Failed, Target
from benchmarks.loads.open_loop import REQUEST
from benchmarks.loads.tls import context
from benchmarks.peers import program
from benchmarks.row import Row

BOOT = 30.0
"""Seconds until a proxy must answer."""
POLL = 0.002
TIMEOUT = 5
HTTP2 = {"h2", "h2-h1", "grpc"}
"""The kinds of rows whose clients speak HTTP/2."""


def wait_ready(is_ready: Callable[[], bool]) -> None:
    """Ask until it is; raises ``Failed`` when that takes too long."""
    deadline = time.monotonic() + BOOT
    while not is_ready():
        if time.monotonic() > deadline:
            raise Failed("did not start to answer")
        time.sleep(POLL)


def accepts(port: int) -> bool:
    """Whether somebody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT):
            return True
    except OSError:
        return False


def answers(row: Row, target: Target) -> bool:
    """Whether one request, or some bytes, come back."""
    if row.origin == "mute":
        return accepts(target.port)
    if row.kind in HTTP2:
        return _answers_http2(row, target)
    try:
        with socket.create_connection(("127.0.0.1", target.port), TIMEOUT) as plain:
            if row.kind != "tls":
                return _answers(plain, row)
            made = context(target)
            with made.wrap_socket(plain, server_hostname="server.example.org") as tls:
                return _answers(tls, row)
    except OSError:
        return False


def _answers(connection: socket.socket, row: Row) -> bool:
    is_http = row.kind != "tcp"
    if row.origin != "send":
        connection.sendall(REQUEST)
    answer = connection.recv(4096)
    return answer.startswith(b"HTTP/1.1 200") if is_http else bool(answer)


def _answers_http2(row: Row, target: Target) -> bool:
    nghttp = program("nghttp")
    if nghttp is None:
        raise Failed("needs nghttp and h2load: apt-get install nghttp2-client")
    is_call = row.kind == "grpc"
    options = ["-nv", "--no-dep", "-t", str(TIMEOUT)]
    done = subprocess.run(
        [nghttp, *options, *request(target, is_call)],
        capture_output=True,
        text=True,
        check=False,
    )
    return is_answer(done.stdout, is_call)


def is_answer(said: str, is_call: bool) -> bool:
    """Whether nghttp saw a response; with the trailers, if it was a call's."""
    expected = [" :status: 200\n", *([" grpc-status: 0\n"] if is_call else [])]
    return all(each in said for each in expected)
