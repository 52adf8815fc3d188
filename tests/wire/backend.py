"""An origin that speaks HTTP/2 frame by frame, well until it is told to make a mistake."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Literal

import attrs
import hpack

from tests.wire.raw import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITISED,
    RST_STREAM,
    SETTINGS,
    data,
    frame,
    headers,
    ping,
    settings,
    window_update,
)

PATIENCE = 5.0
"""Seconds; only a failing test waits so long."""
PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
GREETING = settings()

Ending = Literal["stay", "end"]


@attrs.frozen
class Mistake:
    """What is done with the first request of one connection, instead of what is right."""

    name: str
    answer: Callable[[int], Iterable[bytes]]
    """What is sent when a request came on that stream."""
    greeting: bytes = GREETING
    is_early: bool = False
    """Whether the answer goes out behind the request's head, before its body."""
    is_deaf: bool = False
    """Whether nothing is acknowledged."""
    then: Ending = "stay"
    lasts: bool = False
    """Whether every connection goes so, until there is no mistake to make."""


@attrs.define(eq=False)
class Conversation:
    """One connection, and what became of it."""

    sock: socket.socket
    mistake: Mistake | None
    requests: list[dict[bytes, bytes]] = attrs.field(factory=list)
    answered: set[int] = attrs.field(factory=set)
    resets: dict[int, int] = attrs.field(factory=dict)
    goaway: int | None = None
    is_over: bool = False
    sent: int = 0
    """Bytes of mistakes."""


class Backend:
    """Serves until closed, a thread for each connection."""

    def __init__(self) -> None:
        self.mistake: Mistake | None = None
        """For the next connection; used once, unless it lasts."""
        self.conversations: list[Conversation] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Backend:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        self.drop()
        for thread in self._threads:
            thread.join()

    def drop(self) -> None:
        """End every connection; they are over when the other side has ended them, too."""
        for each in self.conversations:
            with suppress(OSError):
                each.sock.shutdown(socket.SHUT_WR)
        for each in self.conversations:
            assert self.wait(lambda each=each: each.is_over)  # type: ignore[misc]  # a default that binds
        self.conversations.clear()

    def wait(self, condition: Callable[[], bool]) -> bool:
        """Wait until ``condition`` holds; False if it never does."""
        with self._changed:
            return self._changed.wait_for(condition, PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            mistake = self.mistake
            if mistake is not None and not mistake.lasts:
                self.mistake = None
            conversation = Conversation(connected, mistake)
            self.conversations.append(conversation)
            thread = threading.Thread(
                target=self._serve, args=[conversation], daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self, conversation: Conversation) -> None:
        with suppress(OSError, EOFError):
            self._converse(conversation)
        conversation.sock.close()
        with self._changed:
            conversation.is_over = True
            self._changed.notify_all()

    def _converse(self, conversation: Conversation) -> None:
        sock, mistake = conversation.sock, conversation.mistake
        decoder = hpack.Decoder()
        sock.sendall(mistake.greeting if mistake else GREETING)
        receive(sock, PREFACE)
        block = b""
        for kind, flags, stream, payload in frames(sock):
            if kind in (HEADERS, CONTINUATION):
                block = payload if kind == HEADERS else block + payload
                if flags & END_HEADERS:
                    decoded = decoder.decode(block, raw=True)
                    conversation.requests.append(
                        {bytes(each[0]): bytes(each[1]) for each in decoded}
                    )
            self._note(conversation, kind, flags, stream, payload)
            is_early = mistake is not None and mistake.is_early
            is_due = kind in (HEADERS, DATA) and (is_early or flags & END_STREAM)
            if is_due and stream not in conversation.answered:
                self._answer(conversation, stream)

    def _note(
        self,
        conversation: Conversation,
        kind: int,
        flags: int,
        stream: int,
        payload: bytes,
    ) -> None:
        sock = conversation.sock
        with self._changed:
            if kind == RST_STREAM:
                conversation.resets[stream] = int.from_bytes(payload, "big")
            elif kind == GOAWAY:
                conversation.goaway = int.from_bytes(payload[4:8], "big")
            self._changed.notify_all()
        if conversation.mistake is not None and conversation.mistake.is_deaf:
            return
        if kind == SETTINGS and not flags & ACK:
            sock.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            sock.sendall(ping(payload, ACK))
        elif kind == DATA and payload:
            sock.sendall(window_update(0, len(payload)))
            if not flags & END_STREAM:
                sock.sendall(window_update(stream, len(payload)))

    def _answer(self, conversation: Conversation, stream: int) -> None:
        mistake, sock = conversation.mistake, conversation.sock
        conversation.answered.add(stream)
        if mistake is None or len(conversation.answered) > 1:
            request = conversation.requests[-1]
            said = request.get(b":method", b"") + b" " + request.get(b":path", b"")
            sock.sendall(good(stream, said))
            return
        for piece in mistake.answer(stream):
            sock.sendall(piece)
            conversation.sent += len(piece)
        if mistake.then == "end":
            sock.shutdown(socket.SHUT_WR)


def good(stream: int, body: bytes = b"good") -> bytes:
    """A right answer."""
    if body.startswith(b"HEAD"):
        return headers(stream, [(b":status", b"200")])
    return headers(stream, [(b":status", b"200")], END_HEADERS) + data(stream, body)


def receive(sock: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = sock.recv(size - len(received))
        if not piece:
            raise EOFError
        received += piece
    return received


def frames(sock: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of each frame that comes, without padding."""
    while True:
        head = receive(sock, 9)
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
        payload = receive(sock, int.from_bytes(head[:3], "big"))
        if kind in (HEADERS, DATA) and flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if kind == HEADERS and flags & PRIORITISED:
            payload = payload[5:]
        yield kind, flags, stream, payload
