"""A client that sends any bytes and reads what comes back, strictly."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from types import TracebackType

from tests.wire.origin import PATIENCE
from tests.wire.reader import Message, Reader

Address = tuple[str, int]


class Client:
    """One connection. Every wait ends after ``patience`` seconds with TimeoutError."""

    def __init__(self, address: Address, patience: float = PATIENCE) -> None:
        self._socket = socket.create_connection(address, timeout=patience)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = Reader(self._socket)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, data: bytes, *, bytewise: bool = False) -> None:
        """Send all of it, or as much as the other side takes before it closes."""
        pieces = [bytes([each]) for each in data] if bytewise else [data]
        with suppress(ConnectionResetError, BrokenPipeError):
            for piece in pieces:
                self._socket.sendall(piece)

    def end(self) -> None:
        """Say that nothing more will be sent."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def answer(self, asked: bytes = b"GET") -> Message | None:
        """The next final answer, with the 1xx before it; None at the connection's end."""
        before: list[Message] = []
        while message := self._reader.next_message("answer", asked):
            if not (100 <= message.status < 200 and message.status != 101):
                message.informational = before
                return message
            before.append(message)
        return None

    def is_answered(self, seconds: float) -> bool:
        """Whether there is something to read, or the end, within ``seconds``."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def ask(self, data: bytes, asked: bytes = b"GET") -> Message | None:
        self.send(data)
        return self.answer(asked)
