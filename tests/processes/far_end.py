"""Servers of a namespace: ``python -m tests.processes.far_end NAME HTTP-PORT …``.

HTTP says its name and the client's address; besides, 7000 sends every byte back, and
2525 speaks first. "ready" on standard output says that all of them listen.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler

ECHO, GREETS = 7000, 2525


class Server(socketserver.ThreadingTCPServer):
    """Listens on every address of both families."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True


class Says(BaseHTTPRequestHandler):
    """Who answered, at which port, and whom."""

    protocol_version = "HTTP/1.1"
    name = ""

    def do_GET(self) -> None:
        port = self.connection.getsockname()[1]
        body = f"{self.name} {port} {self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.request.sendall(data)


class Greets(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"220 " + Says.name.encode() + b"\r\n")
        self.request.recv(1024)


def main() -> None:
    Says.name, *ports = sys.argv[1:]
    servers = [Server(("::", int(port)), Says) for port in ports]
    servers += [Server(("::", ECHO), Echo), Server(("::", GREETS), Greets)]
    for server in servers:
        threading.Thread(target=server.serve_forever).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
