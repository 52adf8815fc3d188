"""The demo's applications: they speak plain HTTP and gRPC, and know of no mesh.

    python -m tulle.demo.apps SOCKET api VERSION FAILING
    python -m tulle.demo.apps SOCKET rates FAILING
    python -m tulle.demo.apps SOCKET web SIDECAR SIDECAR
    python -m tulle.demo.apps - client SIDECAR RATE

SOCKET is the number of a listening socket that was handed over, SIDECAR the
``host:port`` where the application's own sidecar takes what it sends: of ``web`` the
first for ``api``, the second for ``rates``.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tulle.demo import rates

ANSWER = 10.0
"""Seconds that a caller waits for its sidecar, which gives up long before."""
CALLERS_PER_RATE = 1 / 20
LATE = 1.0
"""Seconds a caller may be behind; what it missed before that is not made up for."""

Answer = tuple[int, dict[str, object]]


class App(BaseHTTPRequestHandler):
    """Answers GET with JSON and keeps the connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # One send for head and body.
    wbufsize = -1

    def do_GET(self) -> None:
        """Whatever is asked for, answer the same."""
        status, answer = self.answer()
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self) -> Answer:
        """The status and what is said."""
        raise NotImplementedError

    @property
    def caller(self) -> str | None:
        """Who called, as the sidecar says: it lets no client say so by itself."""
        return self.headers.get("l5d-client-id")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the sidecar counts."""


def api(version: str, failing: float) -> type[App]:
    """An application that works for some milliseconds, and sometimes fails."""

    class Api(App):
        def answer(self) -> Answer:
            time.sleep(random.expovariate(1 / 0.002))
            if random.random() < failing:
                return 503, {"api": version, "error": "this one does not feel well"}
            return 200, {"api": version, "called_by": self.caller}

    return Api


def web(to_api: str, to_rates: str) -> type[App]:
    """An application that asks ``api`` and ``rates`` through its own sidecar."""

    class Web(App):
        def setup(self) -> None:
            super().setup()
            self.api = HTTPConnection(to_api, timeout=ANSWER)
            self.rates = rates.Rates(to_rates, ANSWER)

        def finish(self) -> None:
            self.api.close()
            self.rates.close()
            super().finish()

        def answer(self) -> Answer:
            status, said = call(self.api)
            if status != 200:
                return 502, {"web": "api did not answer"}
            if self.rates.get() != 0:
                return 502, {"web": "rates did not answer"}
            version = json.loads(said)["api"]
            return 200, {"web": "hello", "called_by": self.caller, "api": version}

    return Web


def call(connection: HTTPConnection) -> tuple[int | None, bytes]:
    """One GET; the status is None where there was no answer."""
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        connection.close()
        return None, b""


def client(sidecar: str, rate: float) -> None:
    """Call through the sidecar about ``rate`` times a second, for ever."""
    callers = max(4, round(rate * CALLERS_PER_RATE))
    start = time.monotonic()
    for number in range(callers):
        threading.Thread(
            target=_keep_calling,
            args=(sidecar, start + number / rate, callers / rate),
            daemon=True,
        ).start()
    threading.Event().wait()


def _keep_calling(sidecar: str, due: float, every: float) -> None:
    connection = HTTPConnection(sidecar, timeout=ANSWER)
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        call(connection)
        due = following(due, every, time.monotonic())


def following(due: float, every: float, now: float) -> float:
    """When to call next, if a call was due at ``due``."""
    return max(due + every, now - LATE)


def serve(listening: socket.socket, app: type[App]) -> None:
    """Answer on a socket that listens, for ever."""
    server = ThreadingHTTPServer(("", 0), app, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.serve_forever()


def main(listening: str, role: str, *words: str) -> None:
    """Be one of the applications until killed."""
    if role == "client":
        client(words[0], float(words[1]))
        return
    sock = socket.socket(fileno=int(listening))
    if role == "rates":
        rates.serve(sock, float(words[0]))
    elif role == "web":
        serve(sock, web(words[0], words[1]))
    else:
        serve(sock, api(words[0], float(words[1])))


if __name__ == "__main__":
    main(*sys.argv[1:])
