"""The demo's gRPC: a service with one method, and who calls it, over plain sockets.

Both are what an application's gRPC library would be. They speak HTTP/2 by the proxy's own
codec, since the demo needs nothing that Tulle does not install.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import suppress

from proxy.codec import h2

METHOD = b"/demo.Rates/Get"
UNAVAILABLE = 14
"""gRPC's status for: try again."""

MESSAGE = b"\x00\x00\x00\x00\x04rate"
"""A message of four bytes, not compressed (gRPC over HTTP/2, Length-Prefixed-Message)."""


class _Talk:
    """One end of a connection; what its codec tells of streams is kept."""

    def __init__(self, sock: socket.socket, role: h2.Role) -> None:
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ended: list[int] = []
        """Streams whose other side has sent its last byte."""
        self.status: dict[int, int] = {}
        """What gRPC's status of a stream is, where one has come."""
        self.codec = h2.make_codec(role, h2.Settings(), self)
        self.codec.start()
        self.send()

    def send(self) -> None:
        """Send what is queued."""
        if data := self.codec.take():
            self.sock.sendall(data)

    def receive(self) -> bool:
        """Take in what comes; False at the end of the connection."""
        data = self.sock.recv(65_536)
        if data:
            self.codec.receive(data)
            self.send()
        return bool(data) and not self.codec.is_over

    def on_head(self, stream: int, fields: h2.Fields, is_end: bool) -> None:
        self._note(stream, fields, is_end)

    def on_trailers(self, stream: int, fields: h2.Fields) -> None:
        self._note(stream, fields, True)

    def on_data(self, stream: int, data: bytes, is_end: bool) -> None:
        self.codec.consumed(stream, len(data))
        self._note(stream, (), is_end)

    def on_closed(self, stream: int, code: int, is_ours: bool) -> None:
        if code:
            self._note(stream, (), True)

    def _note(self, stream: int, fields: h2.Fields, is_end: bool) -> None:
        told = dict(fields).get(b"grpc-status")
        if told is not None:
            self.status[stream] = int(told)
        if is_end:
            self.ended.append(stream)

    def on_informational(self, stream: int, fields: h2.Fields) -> None: ...

    def on_goaway(self, last: int, code: int) -> None: ...

    def on_pong(self, payload: bytes) -> None: ...

    def on_room(self) -> None: ...


class Rates:
    """A client that keeps its connection; not for two threads."""

    def __init__(self, sidecar: str, patience: float) -> None:
        self._sidecar = sidecar
        self._patience = patience
        self._talk: _Talk | None = None

    def get(self) -> int | None:
        """One call; gRPC's status of it, None where there was no answer."""
        try:
            return self._call(self._talk or self._connect())
        except OSError:
            self.close()
            return None

    def _connect(self) -> _Talk:
        host, _, port = self._sidecar.rpartition(":")
        sock = socket.create_connection((host, int(port)), self._patience)
        self._talk = _Talk(sock, "client")
        return self._talk

    def _call(self, talk: _Talk) -> int | None:
        if talk.codec.is_closing:
            self.close()
            talk = self._connect()
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"rates"),
            (b":path", METHOD),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        ]
        stream = talk.codec.open(fields, is_end=False)
        talk.codec.send(stream, MESSAGE, is_end=True)
        talk.send()
        while stream not in talk.ended:
            if not talk.receive():
                raise ConnectionError("the sidecar has gone")
        talk.ended.clear()
        return talk.status.pop(stream, None)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._talk is not None:
            self._talk.sock.close()
            self._talk = None


def serve(listening: socket.socket, failing: float) -> None:
    """Answer on a socket until it no longer listens; the share ``failing`` UNAVAILABLE."""
    with suppress(OSError):
        while True:
            sock, _ = listening.accept()
            threading.Thread(
                target=_converse, args=(sock, failing), daemon=True
            ).start()


def _converse(sock: socket.socket, failing: float) -> None:
    with sock, suppress(OSError):
        talk = _Talk(sock, "server")
        while talk.receive():
            for stream in talk.ended:
                _answer(talk.codec, stream, failing)
            talk.ended.clear()
            talk.send()


def _answer(codec: h2.Codec, stream: int, failing: float) -> None:
    time.sleep(random.expovariate(1 / 0.0005))
    head = [(b":status", b"200"), (b"content-type", b"application/grpc")]
    with suppress(h2.StreamGone):  # its caller may have given up
        if random.random() < failing:
            status = (b"grpc-status", b"%d" % UNAVAILABLE)
            codec.respond(stream, [*head, status], is_end=True)
        else:
            codec.respond(stream, head, is_end=False)
            codec.send(stream, MESSAGE, is_end=False)
            codec.send_trailers(stream, [(b"grpc-status", b"0")])
