"""HTTP/2 without I/O: what a codec is told, what it tells, and nothing of a library's.

A ``Codec`` is one connection's protocol state. Bytes go in by ``receive``, which calls
the ``Receiver`` for what they mean; what is to be sent comes out of ``take``. Two rules:

1. A codec is driven by one task at a time and calls its receiver only from ``receive``,
   ``take`` and ``fail``; the receiver may call the codec back, but for the first two.
2. Peers' bytes are bounded before they are decoded: ``guard.py`` counts frames, and a
   connection that goes over a bound fails (RFC 9113, 10.5).

Fields are pairs of bytes, pseudo-header fields first. Those that may not be indexed are
of a subclass of ``tuple`` and stay so while they are passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import attrs

from proxy.codec.h1.wire import HeadLimits

Fields = Sequence[tuple[bytes, bytes]]
Role = Literal["client", "server"]

NO_ERROR = 0x0
PROTOCOL_ERROR = 0x1
INTERNAL_ERROR = 0x2
FLOW_CONTROL_ERROR = 0x3
STREAM_CLOSED = 0x5
FRAME_SIZE_ERROR = 0x6
REFUSED_STREAM = 0x7
CANCEL = 0x8
COMPRESSION_ERROR = 0x9
CONNECT_ERROR = 0xA
ENHANCE_YOUR_CALM = 0xB
HTTP_1_1_REQUIRED = 0xD
"""Error codes of RST_STREAM and GOAWAY (RFC 9113, 7)."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client's first bytes are (RFC 9113, 3.4)."""

LAST_STREAM = 2**31 - 3
"""A client's stream behind which there is no other."""


LARGEST_SETTING = 2**32 - 1
"""What a SETTINGS frame has room for (RFC 9113, 6.5.1)."""

SMALLEST_FRAME = 16_384
"""Bytes of payload that every peer may send in one frame (RFC 9113, 4.2)."""

OVERHEAD = 32
"""Bytes that a field counts for besides its own (RFC 9113, 6.5.2)."""


@attrs.frozen
class HeadBounds:
    """How much of a head is decoded; more fails the connection.

    What is a little over a limit has to be decoded to be answered with 431.
    """

    size: int = 128 * 1024
    """Bytes, decoded, with the overhead of each field."""
    fields: int = 1000
    continuations: int = 8
    """Frames behind one HEADERS (VU#421644; nghttp2: 8)."""

    @classmethod
    def above(cls, limits: HeadLimits) -> HeadBounds:
        """Bounds of twice the limits, or the default ones where they are higher."""
        size = 2 * (limits.max_head + OVERHEAD * limits.max_headers)
        size = min(size, LARGEST_SETTING)
        least = cls()
        return cls(
            max(least.size, size),
            max(least.fields, min(2 * limits.max_headers, LARGEST_SETTING)),
            max(least.continuations, size // SMALLEST_FRAME),
        )


@attrs.frozen
class Settings:
    """What one end of a connection offers the other. Sizes are bytes."""

    max_streams: int = 100
    """Requests at a time that a client may have (HAProxy: 100). Of a client: nothing."""
    stream_window: int = 65_535
    """Bytes of one body that may come before any of it was consumed (Linkerd: 65,535)."""
    connection_window: int = 1024 * 1024
    """Bytes of all bodies together (Linkerd: 1 MiB)."""
    max_frame: int = SMALLEST_FRAME
    """Bytes of a frame's payload that are accepted."""
    heads: HeadBounds = HeadBounds()
    allows_connect_protocol: bool = False
    """Of a server: whether it takes extended CONNECT (RFC 8441)."""


class Receiver(Protocol):
    """Who is told what a peer has sent. Must not raise."""

    def on_head(self, stream: int, fields: Fields, is_end: bool) -> None:
        """A request's head, at a server; a final response's, at a client."""
        ...

    def on_informational(self, stream: int, fields: Fields) -> None:
        """A 1xx."""
        ...

    def on_data(self, stream: int, data: bytes, is_end: bool) -> None:
        """Bytes of a body; ``Codec.consumed`` must be told when they are used up."""
        ...

    def on_trailers(self, stream: int, fields: Fields) -> None:
        """The fields behind a body; they end it."""
        ...

    def on_closed(self, stream: int, code: int, is_ours: bool) -> None:
        """A stream is over; told once for each, at the very end.

        ``code`` is NO_ERROR when both sides have ended it, otherwise the reset's;
        ``is_ours`` when this side has sent the reset, be it for a mistake of the
        peer's that the codec found.
        """
        ...

    def on_goaway(self, last: int, code: int) -> None:
        """The peer takes no streams above ``last``."""
        ...

    def on_pong(self, payload: bytes) -> None:
        """The answer to a ``ping``."""
        ...

    def on_room(self) -> None:
        """A window, or the number of streams that may be opened, may have grown."""
        ...


class StreamGone(Exception):
    """The stream is not open for what was to be sent on it; it is told of, or will be."""


class Codec(Protocol):
    """One connection's state. Whatever is sent on a gone stream raises StreamGone."""

    is_over: bool
    """Nothing more will be received. ``take`` may still have the last words to send."""
    failure: str
    """Why it is over, if something was wrong; else empty."""
    failure_code: int
    """The code that the GOAWAY told the peer, or that the peer told."""

    def stop(self, data: bytes, start: int) -> int:
        """Where to end what ``receive`` is given of ``data`` next, from ``start`` on.

        So that it shows what that has come to, and other connections get their turn: a
        read of 256 KiB may be ten thousand frames.
        """
        ...

    def start(self) -> None:
        """Queue the preface (of a client) and the settings."""
        ...

    def receive(self, data: bytes) -> None:
        """Take in bytes and tell the receiver. Never raises for what a peer sent."""
        ...

    def take(self) -> bytes:
        """All that can be sent now; ``b""`` when there is nothing."""
        ...

    @property
    def has_output(self) -> bool:
        """Whether ``take`` may have something. Asking costs less than taking nothing."""
        ...

    @property
    def can_open(self) -> bool:
        """Whether ``open`` would go out at once: no GOAWAY, the peer's limit not reached."""
        ...

    @property
    def is_closing(self) -> bool:
        """Whether no stream can ever be opened again: GOAWAY either way, ids used up."""
        ...

    @property
    def peer_allows_connect_protocol(self) -> bool:
        """Whether the peer's settings have ENABLE_CONNECT_PROTOCOL (RFC 8441)."""
        ...

    def open(self, fields: Fields, *, is_end: bool) -> int:
        """A client's request; its stream. Call it only if ``can_open``.

        Raises StreamGone where the library is ending the connection and has not told yet.
        """
        ...

    def respond(self, stream: int, fields: Fields, *, is_end: bool) -> None:
        """A server's final response, or a 1xx by its ``:status``."""
        ...

    def send(self, stream: int, data: bytes, *, is_end: bool) -> None:
        """Queue bytes of a body; they go out as the windows allow."""
        ...

    def send_trailers(self, stream: int, fields: Fields) -> None:
        """End a body with fields."""
        ...

    def queued(self, stream: int) -> int:
        """Bytes of a body that wait for a window, or for ``take``; 0 for a gone stream."""
        ...

    def consumed(self, stream: int, size: int) -> None:
        """Bytes told by ``on_data`` are used up: the peer may send as many more.

        For a gone stream, too: the connection's window gets back what it held.
        """
        ...

    def widen(self, stream: int, window: int) -> None:
        """From now on so many bytes of a stream's body may come before any is consumed.

        More than until now. A hint: ``h2``, and a stream that is gone, stay as they are.
        """
        ...

    def reset(self, stream: int, code: int) -> None:
        """End a stream at once. Nothing happens if it is gone already."""
        ...

    def ping(self, payload: bytes) -> None:
        """Ask for an answer to 8 bytes."""
        ...

    def announce_end(self) -> None:
        """A server's first GOAWAY: streams on their way are still taken (9113, 6.8)."""
        ...

    def end(self, code: int = NO_ERROR) -> None:
        """GOAWAY: take no new streams; those under way go on."""
        ...

    def fail(self, code: int, why: str) -> None:
        """GOAWAY and be over: every stream is closed."""
        ...
