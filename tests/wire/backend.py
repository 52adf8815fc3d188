"""An origin that speaks HTTP/2 frame by frame, well until it is told to make a mistake."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
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
    WINDOW_UPDATE,
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
INITIAL_WINDOW_SIZE, DEFAULT_WINDOW = 4, 65_535

Request = dict[bytes, bytes]
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
    every: bool = False
    """Whether every request of a connection is answered so, and not the first alone."""
    heeds_windows: bool = False
    """Whether DATA waits until the other side has room for it, padding included."""


@attrs.define(eq=False)
class Conversation:
    """One connection, and what became of it."""

    sock: socket.socket
    mistake: Mistake | None
    requests: list[Request] = attrs.field(factory=list)
    bodies: dict[int, bytes] = attrs.field(factory=dict)
    """What came as DATA, by stream."""
    pongs: list[bytes] = attrs.field(factory=list)
    """What acknowledged a PING."""
    answered: set[int] = attrs.field(factory=set)
    resets: dict[int, int] = attrs.field(factory=dict)
    goaway: int | None = None
    is_over: bool = False
    sent: int = 0
    """Bytes of mistakes."""
    unsent: Iterator[bytes] = attrs.field(factory=lambda: iter(()))
    """Frames of an answer that wait for the windows."""
    settings: dict[int, int] = attrs.field(factory=dict)
    """What the other side has told."""
    initial: int = DEFAULT_WINDOW
    windows: dict[int, int] = attrs.field(factory=lambda: {0: DEFAULT_WINDOW})
    """What may be sent on the connection, 0, and on each stream, where anything was said
    or sent."""

    def takes(self, piece: bytes) -> bool:
        """Whether there is room for a frame; it is then taken for sent."""
        if piece[3] != DATA:
            return True
        size, stream = len(piece) - 9, int.from_bytes(piece[5:9], "big")
        room = self.windows.setdefault(stream, self.initial)
        if size > min(room, self.windows[0]):
            return False
        self.windows[stream] -= size
        self.windows[0] -= size
        return True

    def grant(self, kind: int, stream: int, payload: bytes) -> None:
        """Note what the other side has room for."""
        if kind == WINDOW_UPDATE:
            known = self.windows.setdefault(stream, self.initial)
            self.windows[stream] = known + int.from_bytes(payload, "big")
            return
        for start in range(0, len(payload), 6):
            name = int.from_bytes(payload[start : start + 2], "big")
            value = int.from_bytes(payload[start + 2 : start + 6], "big")
            self.settings[name] = value
            if name == INITIAL_WINDOW_SIZE:
                for each in self.windows.keys() - {0}:
                    self.windows[each] += value - self.initial
                self.initial = value


class Backend:
    """Serves until closed, a thread for each connection."""

    def __init__(self, well: Callable[[int, Request], bytes] | None = None) -> None:
        """``well`` is the right answer to a request; else it says what was asked."""
        self._well = well or say
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
            self._send(conversation)
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
            elif kind == DATA:
                known = conversation.bodies.get(stream, b"")
                conversation.bodies[stream] = known + payload
            elif kind == PING and flags & ACK:
                conversation.pongs.append(payload)
            elif kind == WINDOW_UPDATE or (kind == SETTINGS and not flags & ACK):
                conversation.grant(kind, stream, payload)
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
        mistake = conversation.mistake
        conversation.answered.add(stream)
        is_first = len(conversation.answered) == 1
        if mistake is None or not (is_first or mistake.every):
            conversation.sock.sendall(self._well(stream, conversation.requests[-1]))
            return
        conversation.unsent = iter(mistake.answer(stream))
        self._send(conversation)
        if mistake.then == "end":
            conversation.sock.shutdown(socket.SHUT_WR)

    def _send(self, conversation: Conversation) -> None:
        """Send as much of a mistake as there is room for, if it heeds that."""
        mistake = conversation.mistake
        if mistake is None:
            return
        ready = b""
        for piece in conversation.unsent:
            if mistake.heeds_windows and not conversation.takes(piece):
                conversation.unsent = chain([piece], conversation.unsent)
                break
            conversation.sent += len(piece)
            if mistake.heeds_windows:
                ready += piece
            else:
                conversation.sock.sendall(piece)
        if ready:
            conversation.sock.sendall(ready)


def say(stream: int, request: Request) -> bytes:
    """The right answer that says what was asked."""
    return good(
        stream, request.get(b":method", b"") + b" " + request.get(b":path", b"")
    )


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
