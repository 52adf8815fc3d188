"""HTTP/2 by libnghttp2, through the package ``ngh2``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ngh2 import (
    Configuration,
    Connection,
    ConnectionClosed,
    ConnectionClosingError,
    DataReceived,
    ErrorCode,
    Event,
    GoAwayReceived,
    InformationalResponseReceived,
    NGH2Error,
    PingAcknowledged,
    Priority,
    RequestReceived,
    ResponseReceived,
    SettingsReceived,
    StreamClosed,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from ngh2 import Role as NativeRole

from proxy.codec.h2.codec import (
    ENHANCE_YOUR_CALM,
    INTERNAL_ERROR,
    LAST_STREAM,
    NO_ERROR,
    REFUSED_STREAM,
    Fields,
    Receiver,
    Role,
    Settings,
    StreamGone,
)
from proxy.codec.h2.guard import Guard

ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 0x2, 0x3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 0x4, 0x5, 0x6
ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 0x8, 0x9
"""Settings (RFC 9113, 6.5.2; RFC 8441, 3; RFC 9218, 2.1)."""

LONGEST_SENT = 2**24
"""Bytes of a head of ours: whoever made it has bounded it."""

IN_TURN = Priority(incremental=True)


PIECE = 16 * 1024
"""Bytes taken in at a time: 500 heads; four times as much where it is data."""


class Nghttp2Codec:
    """A ``Codec``."""

    def __init__(self, role: Role, settings: Settings, receiver: Receiver) -> None:
        self.is_over = False
        self.failure = ""
        self.failure_code = NO_ERROR
        self._role = role
        self._settings = settings
        self._receiver = receiver
        self._connection = Connection(
            NativeRole.SERVER if role == "server" else NativeRole.CLIENT,
            Configuration(
                auto_window_update=False,
                max_inbound_header_list_size=settings.heads.size,
                max_inbound_header_count=settings.heads.fields,
                max_continuations=settings.heads.continuations,
                max_send_header_block_length=LONGEST_SENT,
            ),
        )
        self._last_words = b""
        self._held = 0
        """Bytes told and not consumed."""
        self._lost = 0
        """Bytes of the connection's window that were given back to the peer."""
        self._is_ended = False
        self._open: set[int] = set()
        """Streams that are not closed."""
        self._reset_by_peer: set[int] = set()
        self._reset_by_us: set[int] = set()
        self._limit = 100
        self._last = 0
        """The newest stream."""
        self._guard = Guard(role, settings, alive=self._open)
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            RequestReceived: self._on_request,
            ResponseReceived: self._on_response,
            DataReceived: self._on_data,
            StreamClosed: self._on_closed,
            TrailersReceived: self._on_trailers,
            StreamReset: self._on_reset,
            WindowUpdated: self._on_window,
            SettingsReceived: self._on_settings,
            InformationalResponseReceived: self._on_informational,
            GoAwayReceived: self._on_goaway,
            PingAcknowledged: self._on_pong,
            ConnectionClosed: self._on_connection_closed,
        }
        self.peer_allows_connect_protocol = False

    def stop(self, data: bytes, start: int) -> int:
        # A server has to be asked before it can send heads: mostly there is data.
        if self._role == "server" or len(data) - start <= PIECE:
            return start + PIECE
        return self._guard.stop(data, start, min(start + 4 * PIECE, len(data)), PIECE)

    def start(self) -> None:
        settings = self._settings
        told = {
            INITIAL_WINDOW_SIZE: settings.stream_window,
            MAX_FRAME_SIZE: settings.max_frame,
            MAX_HEADER_LIST_SIZE: settings.heads.size,
            NO_RFC7540_PRIORITIES: 1,
        }
        if self._role == "server":
            told[MAX_CONCURRENT_STREAMS] = settings.max_streams
            if settings.allows_connect_protocol:
                told[ENABLE_CONNECT_PROTOCOL] = 1
        else:
            told[ENABLE_PUSH] = 0
        self._connection.initiate_connection(told)
        self._connection.set_local_window_size(settings.connection_window)

    def receive(self, data: bytes) -> None:
        why = self._guard.check(data)
        if why:
            self.fail(self._guard.code, why)
            return
        try:
            self._connection.receive_data(data)
        except NGH2Error as error:
            self._break(ENHANCE_YOUR_CALM, str(error))
            return
        self._tell()

    def _tell(self) -> None:
        handlers = self._handlers
        for event in self._connection.events():
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event)

    def _on_request(self, event: RequestReceived) -> None:
        if self.is_over:
            return
        stream = self._last = event.stream_id
        self._open.add(stream)
        self._guard.heard += 1
        self._receiver.on_head(stream, event.headers, event.end_stream)

    def _on_response(self, event: ResponseReceived) -> None:
        self._guard.heard += 1
        self._receiver.on_head(event.stream_id, event.headers, event.end_stream)

    def _on_data(self, event: DataReceived) -> None:
        self._held += len(event.data)
        self._receiver.on_data(event.stream_id, event.data, event.end_stream)

    def _on_closed(self, event: StreamClosed) -> None:
        stream, code = event.stream_id, event.error_code
        if code:
            self._return_lost()
        if stream in self._open:
            self._open.discard(stream)
            is_peers = stream in self._reset_by_peer
            self._reset_by_peer.discard(stream)
            # Closed as refused and not reset: the stream was above the last of a GOAWAY.
            is_left = code == REFUSED_STREAM and stream not in self._reset_by_us
            self._reset_by_us.discard(stream)
            is_ours = bool(code) and not is_peers and not is_left
            self._receiver.on_closed(stream, code, is_ours)

    def _return_lost(self) -> None:
        """Give the peer back what the connection's window lost with a stream.

        ``ngh2`` drops what has come of a DATA frame whose stream is reset before the
        rest, and libnghttp2 goes on counting it as not consumed. Consumed bytes it
        returns when they are half the window: what is missing beyond those, and beyond
        what is held, is lost. A larger window, and the old one again, makes it forget.
        """
        if self.is_over:
            return
        window = self._settings.connection_window
        frame = min(self._settings.max_frame, window // 4)
        with suppress(NGH2Error):
            there = self._connection.local_window_size + self._held + frame
            if there < window // 2:
                self._lost += window // 2 - there
                self._connection.set_local_window_size(window + self._lost)
                self._connection.set_local_window_size(window)

    def _on_trailers(self, event: TrailersReceived) -> None:
        self._guard.heard += 1
        self._receiver.on_trailers(event.stream_id, event.headers)

    def _on_reset(self, event: StreamReset) -> None:
        if event.stream_id in self._open:
            self._reset_by_peer.add(event.stream_id)

    def _on_window(self, event: WindowUpdated) -> None:
        self._receiver.on_room()

    def _on_settings(self, event: SettingsReceived) -> None:
        # A session that is ending by itself takes no calls, before it has told so.
        with suppress(NGH2Error):
            self._take_settings()
        self._receiver.on_room()

    def _on_informational(self, event: InformationalResponseReceived) -> None:
        self._guard.heard += 1
        self._receiver.on_informational(event.stream_id, event.headers)

    def _on_goaway(self, event: GoAwayReceived) -> None:
        self._is_ended = True
        self.failure_code = event.error_code
        self._receiver.on_goaway(event.last_stream_id, event.error_code)

    def _on_pong(self, event: PingAcknowledged) -> None:
        self._receiver.on_pong(event.opaque_data)

    def _on_connection_closed(self, event: ConnectionClosed) -> None:
        if not self.is_over:
            self._over(event.error_code)
            self._close_all(event.error_code)

    def _take_settings(self) -> None:
        remote = self._connection.remote_settings
        self._limit = remote[MAX_CONCURRENT_STREAMS]
        self.peer_allows_connect_protocol = bool(remote[ENABLE_CONNECT_PROTOCOL])

    def _over(self, code: int) -> None:
        self.is_over = True
        self.failure_code = code
        if code and not self.failure:
            self.failure = _name(code)

    def _break(self, code: int, why: str) -> None:
        """The native session is gone: say good-bye by hand.

        It takes no calls any more, which whoever is told of what it had read before
        makes: so it is over first.
        """
        if not self.is_over:
            self.failure = why
            self._over(code)
            self._last_words = _goaway(self._last, code)
            self._tell()
            self._close_all(code)

    def _close_all(self, code: int) -> None:
        for stream in list(self._open):
            self._open.discard(stream)
            self._receiver.on_closed(stream, code, True)

    def take(self) -> bytes:
        if not self._last_words:
            try:
                data = self._connection.data_to_send()
            except NGH2Error as error:
                self._break(INTERNAL_ERROR, str(error))
            else:
                self._tell()
                return data
        words, self._last_words = self._last_words, b""
        return words

    @property
    def has_output(self) -> bool:
        try:
            return bool(self._last_words) or self._connection.want_write
        except NGH2Error:
            return False

    @property
    def can_open(self) -> bool:
        return len(self._open) < self._limit and not (
            self._is_ended or self.is_over or self._last > LAST_STREAM
        )

    @property
    def is_closing(self) -> bool:
        return self.is_over or self._is_ended or self._last > LAST_STREAM

    def open(self, fields: Fields, *, is_end: bool) -> int:
        try:
            stream = self._connection.send_request(fields, end_stream=is_end)
        except NGH2Error as error:
            # One that is ending by itself tells so when it is next emptied, and until then
            # whoever asks again must not be sent here.
            self._is_ended = self._is_ended or isinstance(error, ConnectionClosingError)
            raise StreamGone(str(error)) from error
        self._last = stream
        self._open.add(stream)
        self._guard.halves.opened(stream)
        return stream

    def respond(self, stream: int, fields: Fields, *, is_end: bool) -> None:
        try:
            if fields[0][1][:1] == b"1":
                self._connection.send_informational_response(stream, fields)
            else:
                self._connection.send_response(stream, fields, end_stream=is_end)
                if not is_end:
                    # A frame each in turn: libnghttp2 would end the first body first.
                    self._connection.set_stream_priority(
                        stream, IN_TURN, ignore_client_signal=True
                    )
        except NGH2Error as error:
            raise StreamGone(str(error)) from error

    def send(self, stream: int, data: bytes, *, is_end: bool) -> None:
        try:
            self._connection.send_data(stream, data, end_stream=is_end)
            self._guard.sent += 1 + len(data) // 16_384
        except NGH2Error as error:
            raise StreamGone(str(error)) from error

    def send_trailers(self, stream: int, fields: Fields) -> None:
        try:
            self._connection.send_trailers(stream, fields)
        except NGH2Error as error:
            raise StreamGone(str(error)) from error

    def queued(self, stream: int) -> int:
        try:
            return self._connection.queued_body_size(stream)
        except NGH2Error:
            return 0

    def consumed(self, stream: int, size: int) -> None:
        try:
            self._connection.acknowledge_received_data(size, stream)
            self._held -= size
        except (NGH2Error, ValueError):
            return

    def widen(self, stream: int, window: int) -> None:
        with suppress(NGH2Error):
            self._connection.set_local_window_size(window, stream_id=stream)

    def reset(self, stream: int, code: int) -> None:
        if stream in self._open and not self.is_over:
            try:
                self._connection.reset_stream(stream, code)
            except NGH2Error:
                return
            self._reset_by_us.add(stream)

    def ping(self, payload: bytes) -> None:
        with suppress(NGH2Error):
            self._connection.ping(payload)

    def announce_end(self) -> None:
        with suppress(NGH2Error):
            self._connection.send_shutdown_notice()

    def end(self, code: int = NO_ERROR) -> None:
        if not self.is_over:
            self._is_ended = True
            with suppress(NGH2Error):
                self._connection.send_goaway(code)

    def fail(self, code: int, why: str) -> None:
        if not self.is_over:
            self.failure = why
            try:
                self._connection.terminate_connection(code)
                self._last_words = self._connection.data_to_send()
            except NGH2Error:
                self._last_words = _goaway(self._last, code)
            self._over(code)
            self._close_all(code)


def _name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"code {code}"


def _goaway(last: int, code: int) -> bytes:
    """A GOAWAY frame (RFC 9113, 6.8)."""
    payload = last.to_bytes(4, "big") + code.to_bytes(4, "big")
    return len(payload).to_bytes(3, "big") + b"\x07\x00\x00\x00\x00\x00" + payload
