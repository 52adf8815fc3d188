"""An origin server that remembers every byte it is sent, and answers by script."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Literal

import attrs

from tests.wire.reader import Message, Reader

Ending = Literal["stay", "end", "reset"]

PATIENCE = 5.0
"""Seconds to wait for what must happen; only a failing test waits so long."""


@attrs.frozen
class Script:
    """What the origin does with one request, instead of answering it."""

    reply: bytes | Sequence[bytes] = b""
    """Each piece of a sequence goes out in a segment of its own."""
    then: Ending = "stay"
    early: bool = False
    """Whether the reply goes out behind the head, before the body."""


class Origin:
    """Serves until closed, a thread for each connection.

    Without a script a request is answered with its own method and target, so that
    an answer shows which request it belongs to.
    """

    def __init__(self) -> None:
        self.script: Script | None = None
        """For the next request; used once."""
        self.bodies: dict[bytes, bytes] = {}
        """By target, what an answer has instead of its own method and target."""
        self.hold = threading.Event()
        """Cleared, requests wait for their answers."""
        self.hold.set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._answered: Message | None = None
        """The one that got its answer early."""
        self._half = 0
        self._performing = 0
        self._opened = 0
        self._open: dict[int, socket.socket] = {}
        self._threads: deque[threading.Thread] = deque()
        self._start(self._accept)

    def __enter__(self) -> Origin:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.hold.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads.popleft().join()
        self._listener.close()
        self.drop()
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def take(self) -> list[Message]:
        """The requests since the last call, when none is in the middle of its bytes, nor an
        answer that a script has begun.

        Raises TimeoutError when one stays there: somebody forwarded a beginning and
        neither finished nor cut it.
        """
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while not self._is_calm():
                if time.monotonic() > deadline:
                    raise TimeoutError("the origin waits for the rest of a request")
                self._changed.wait(0.002)
            taken, self._messages = self._messages, []
        return taken

    def _is_calm(self) -> bool:
        """Whether everything that has arrived has been read, and ends in a whole."""
        waiting = [self._listener, *self._open.values()]
        is_still = not (self._half or self._performing)
        return is_still and not select.select(waiting, [], [], 0)[0]

    def wait_for_requests(self, count: int, seconds: float = PATIENCE) -> int:
        """Wait until ``count`` requests came since the last ``take``; say how many did."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._messages) >= count, seconds)
            return len(self._messages)

    def is_gone(self, connection: int) -> bool:
        """Whether the proxy closes that connection in good time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: connection not in self._open, PATIENCE / 2
            )

    def drop(self) -> None:
        """End every connection, and wait until they have ended."""
        with self._changed:
            for each in self._open.values():
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, PATIENCE)

    def push(self, connection: int, data: bytes) -> None:
        """Send ``data`` that nobody asked for."""
        self._open[connection].sendall(data)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]  # a Callable of any arguments
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._opened += 1
                self._open[self._opened] = connected
            self._start(self._serve, self._opened, connected)

    def _serve(self, number: int, connected: socket.socket) -> None:
        with suppress(OSError):
            self._converse(number, connected)
        with self._changed:
            del self._open[number]
            connected.close()
            self._changed.notify_all()

    def _converse(self, number: int, connected: socket.socket) -> None:
        reader = Reader(connected)
        while reader.rest or connected.recv(1, socket.MSG_PEEK):
            message = self._receive(number, connected, reader)
            if message is None or not message.whole:
                return
            if message is not self._answered:
                self._answer(connected, message)

    def _receive(
        self, number: int, connected: socket.socket, reader: Reader
    ) -> Message | None:
        with self._changed:
            self._half += 1
        message = None
        try:
            message = reader.next_message(
                "request", on_head=partial(self._head, connected)
            )
        finally:
            with self._changed:
                self._half -= 1
                if message:
                    message.connection = number
                    self._messages.append(message)
                self._changed.notify_all()
        return message

    def _head(self, connected: socket.socket, message: Message) -> None:
        if self.script is not None and self.script.early:
            script, self.script = self.script, None
            self._answered = message
            perform(script, connected)
        elif message.has(b"expect"):
            connected.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _answer(self, connected: socket.socket, message: Message) -> None:
        self.hold.wait(PATIENCE)
        script, self.script = self.script, None
        if script:
            with self._changed:
                self._performing += 1
            try:
                perform(script, connected)
            finally:
                with self._changed:
                    self._performing -= 1
        else:
            connected.sendall(echo(message, self.bodies.get(message.target)))


def echo(message: Message, body: bytes | None = None) -> bytes:
    """The answer that says which request it answers, unless it has another body."""
    said = message.method + b" " + message.target if body is None else body
    head = b"HTTP/1.1 200 OK\r\nX-Origin: echo\r\nContent-Length: %d\r\n\r\n" % len(
        said
    )
    return head if message.method == b"HEAD" else head + said


def perform(script: Script, connected: socket.socket) -> None:
    """Send the reply, then end the connection as the script says."""
    pieces = [script.reply] if isinstance(script.reply, bytes) else script.reply
    for piece in pieces:
        connected.sendall(piece)
    if script.then == "end":
        connected.shutdown(socket.SHUT_WR)
    elif script.then == "reset":
        connected.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        raise ConnectionResetError
