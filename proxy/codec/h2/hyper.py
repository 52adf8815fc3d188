"""HTTP/2 by python's ``h2``.

What differs from libnghttp2 for a peer: ``h2`` ends the connection where a body of another
length than was told could have been its stream's trouble alone.
Connection errors take with them what the same read had brought before them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection, H2ConnectionStateMachine
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error, InvalidBodyLengthError, ProtocolError
from h2.settings import SettingCodes
from h2.settings import Settings as Values
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import Frame, HeadersFrame, RstStreamFrame, SettingsFrame

from proxy.codec.h2.blocks import Blocks
from proxy.codec.h2.bodies import FRAME, Bodies
from proxy.codec.h2.codec import (
    LAST_STREAM,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    Fields,
    Receiver,
    Role,
    Settings,
    StreamGone,
)
from proxy.codec.h2.guard import Guard

NO_RFC7540_PRIORITIES = 0x9
"""A setting (RFC 9218, 2.1) that ``h2`` does not know."""

UNLIMITED = 2**31 - 1

TABLE = 4096
"""Bytes of the fields that are remembered for a peer, however many it would remember."""


class _Machine(H2ConnectionStateMachine):
    """A connection that goes on behind a GOAWAY, as its streams have to."""

    goaways = 0
    """How many were sent."""

    def process_input(self, input_: ConnectionInputs) -> list[Event]:
        if input_ is ConnectionInputs.SEND_GOAWAY:
            self.goaways += 1
            return []
        if input_ is ConnectionInputs.RECV_GOAWAY:
            return []
        return super().process_input(input_)


class _Connection(H2Connection):
    def __init__(self, config: H2Configuration) -> None:
        super().__init__(config)
        self.machine = self.state_machine = _Machine()

    def clear_outbound_data_buffer(self) -> None:
        """Keep what was queued: ``h2`` would drop it with a GOAWAY that comes."""

    def _receive_rst_stream_frame(
        self, frame: RstStreamFrame
    ) -> tuple[list[Frame], list[Event]]:
        # h2's own, not its interface: should it go, so does no more than this check.
        newest = max(self.highest_inbound_stream_id, self.highest_outbound_stream_id)
        if frame.stream_id > newest:
            raise ProtocolError("RST_STREAM on an idle stream")
        return super()._receive_rst_stream_frame(frame)

    def _receive_headers_frame(
        self, frame: HeadersFrame
    ) -> tuple[list[Frame], list[Event]]:
        # h2 forgets at the trailers how long the body was to be: this looks before.
        stream = self.streams.get(frame.stream_id)
        told: int | None = getattr(stream, "_expected_content_length", None)
        came: int = getattr(stream, "_actual_content_length", 0)
        taken = super()._receive_headers_frame(frame)
        if told is not None and told != came:
            raise InvalidBodyLengthError(told, came)
        return taken


@attrs.define(eq=False)
class _Halves:
    """How far a stream is."""

    is_answered: bool
    """Whether the final head of this side was sent."""
    is_heard: bool = False
    """Whether the peer's half has ended."""
    is_said: bool = False
    """Whether this side's half will end with what is queued."""
    is_sent: bool = False
    """Whether this side's half has ended."""


PIECE = 4 * 1024
"""Bytes taken in at a time: a hundred heads, at 0.2 ms each."""


class HyperCodec:
    """A ``Codec``."""

    def __init__(self, role: Role, settings: Settings, receiver: Receiver) -> None:
        self.is_over = False
        self.failure = ""
        self.failure_code = NO_ERROR
        self.peer_allows_connect_protocol = False
        self._role = role
        self._settings = settings
        self._receiver = receiver
        self._connection = _Connection(
            H2Configuration(
                client_side=role == "client",
                # Byte by byte in Python: 0.8 ms for a head of 28 bytes that HPACK makes
                # 60 KB of. Whoever is told of a head checks it (``fields.py``).
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        self._bodies = Bodies(self._connection)
        self._streams: dict[int, _Halves] = {}
        """Streams that are not closed."""
        self._guard = Guard(role, settings, alive=self._streams)
        self._untold: list[tuple[int, int, bool]] = []
        """What ``on_closed`` is to be told by ``take``."""
        self._limit = 100
        self._last = 0
        """The newest stream."""
        self._last_taken = UNLIMITED
        """The newest stream that the GOAWAY left to the peer."""
        self._is_ended = False
        self._is_greeted = False
        """Whether the peer's settings have come, which ``h2`` does not ask for."""
        self._greeting = b""
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            RequestReceived: self._on_request,
            ResponseReceived: self._on_response,
            DataReceived: self._on_data,
            TrailersReceived: self._on_trailers,
            StreamReset: self._on_reset,
            WindowUpdated: self._on_window,
            RemoteSettingsChanged: self._on_settings,
            InformationalResponseReceived: self._on_informational,
            ConnectionTerminated: self._on_goaway,
            PingAckReceived: self._on_pong,
        }

    def stop(self, data: bytes, start: int) -> int:
        return start + PIECE

    def start(self) -> None:
        settings, connection = self._settings, self._connection
        told = {
            SettingCodes.INITIAL_WINDOW_SIZE: settings.stream_window,
            SettingCodes.MAX_FRAME_SIZE: settings.max_frame,
            SettingCodes.MAX_HEADER_LIST_SIZE: settings.heads.size,
            NO_RFC7540_PRIORITIES: 1,
        }
        at_once = {SettingCodes.MAX_CONCURRENT_STREAMS: UNLIMITED}
        if self._role == "server":
            told[SettingCodes.MAX_CONCURRENT_STREAMS] = settings.max_streams
            if settings.allows_connect_protocol:
                told[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        else:
            told[SettingCodes.ENABLE_PUSH] = 0
            at_once[SettingCodes.ENABLE_PUSH] = 0
        is_client = self._role == "client"
        connection.local_settings = Values(client=is_client, initial_values=at_once)
        connection.decoder = Blocks(settings.heads.size, settings.heads.fields)
        # What is told holds from the peer's acknowledgement on, so the frame is written
        # by hand: h2's own tells what holds already.
        connection.initiate_connection()
        connection.data_to_send()
        connection.local_settings.update(told)
        self._greeting = PREFACE if is_client else b""
        self._greeting += SettingsFrame(0, settings=told).serialize()
        more = settings.connection_window - connection.inbound_flow_control_window
        if more > 0:
            connection.increment_flow_control_window(more)

    # What comes

    def receive(self, data: bytes) -> None:
        if self.is_over:
            return
        why = self._guard.check(data)
        if why:
            self.fail(self._guard.code, why)
            return
        machine = self._connection.machine
        goaways = machine.goaways
        try:
            events = self._connection.receive_data(data)
        except (H2Error, HyperframeError) as error:
            code = getattr(error, "error_code", PROTOCOL_ERROR)
            if machine.goaways == goaways:
                self._connection.close_connection(code)
            self.failure = str(error) or type(error).__name__
            self._end_all(int(code))
            return
        if events and not self._is_greeted:
            if type(events[0]) is not RemoteSettingsChanged:
                self.fail(PROTOCOL_ERROR, "another frame than SETTINGS first")
                return
            self._is_greeted = True
        self._hear(events)
        self._look_for_end()

    def _hear(self, events: list[Event]) -> None:
        for event in events:
            handler = self._handlers.get(type(event))
            if handler is not None and not self.is_over:
                handler(event)

    def _on_request(self, event: RequestReceived) -> None:
        stream, fields = event.stream_id, event.headers or []
        if self._role == "client":
            self.fail(PROTOCOL_ERROR, "a head on a stream that nobody opened")
            return
        self._last = stream
        if not self._is_taken(stream, fields):
            return
        self._guard.heard += 1
        is_end = event.stream_ended is not None
        self._streams[stream] = _Halves(is_answered=False)
        self._receiver.on_head(stream, fields, is_end)
        if is_end:
            self._end_theirs(stream)

    def _is_taken(self, stream: int, fields: Fields) -> bool:
        settings = self._settings
        if stream > self._last_taken:
            return False
        if len(self._streams) >= settings.max_streams:
            code = REFUSED_STREAM
        elif settings.allows_connect_protocol or b":protocol" not in dict(fields):
            return True
        else:
            code = PROTOCOL_ERROR
        self._reset(stream, code)
        return False

    def _reset(self, stream: int, code: int) -> None:
        # h2 may know already what is still to be told: that the peer has reset it.
        with suppress(H2Error):
            self._connection.reset_stream(stream, code)

    def _on_response(self, event: ResponseReceived) -> None:
        self._guard.heard += 1
        stream, fields = event.stream_id, event.headers or []
        if stream in self._streams:
            is_end = event.stream_ended is not None
            self._receiver.on_head(stream, fields, is_end)
            if is_end:
                self._end_theirs(stream)

    def _on_informational(self, event: InformationalResponseReceived) -> None:
        self._guard.heard += 1
        stream, fields = event.stream_id, event.headers or []
        if stream in self._streams:
            self._receiver.on_informational(stream, fields)

    def _on_data(self, event: DataReceived) -> None:
        stream, data = event.stream_id, event.data or b""
        size = event.flow_controlled_length or 0
        if stream not in self._streams:
            self.consumed(stream, size)
            return
        self.consumed(stream, size - len(data))
        is_end = event.stream_ended is not None
        if data or is_end:
            self._receiver.on_data(stream, data, is_end)
        if is_end:
            self._end_theirs(stream)

    def _on_trailers(self, event: TrailersReceived) -> None:
        self._guard.heard += 1
        stream, fields = event.stream_id, event.headers or []
        if stream in self._streams:
            self._receiver.on_trailers(stream, fields)
            self._end_theirs(stream)

    def _on_reset(self, event: StreamReset) -> None:
        stream = event.stream_id
        if self._forget(stream):
            code = int(event.error_code or NO_ERROR)
            self._receiver.on_closed(stream, code, not event.remote_reset)

    def _on_window(self, event: WindowUpdated) -> None:
        self._receiver.on_room()

    def _on_settings(self, event: RemoteSettingsChanged) -> None:
        remote, encoder = self._connection.remote_settings, self._connection.encoder
        self._limit = remote.max_concurrent_streams
        self.peer_allows_connect_protocol = bool(remote.enable_connect_protocol)
        if encoder.header_table_size > TABLE:
            encoder.header_table_size = TABLE
        self._receiver.on_room()

    def _on_goaway(self, event: ConnectionTerminated) -> None:
        self._is_ended = True
        last, code = event.last_stream_id or 0, int(event.error_code or NO_ERROR)
        self.failure_code = code
        self._receiver.on_goaway(last, code)
        if self._role == "client":
            for stream in [each for each in self._streams if each > last]:
                if self._forget(stream):
                    self._receiver.on_closed(stream, REFUSED_STREAM, False)

    def _on_pong(self, event: PingAckReceived) -> None:
        self._receiver.on_pong(event.ping_data or b"")

    # How streams and the connection end

    def _end_theirs(self, stream: int) -> None:
        halves = self._streams.get(stream)
        if halves is not None:
            halves.is_heard = True
            if halves.is_sent and self._forget(stream):
                self._receiver.on_closed(stream, NO_ERROR, False)

    def _end_ours(self, stream: int) -> None:
        halves = self._streams[stream]
        halves.is_said = halves.is_sent = True
        if halves.is_heard and self._forget(stream):
            self._untold.append((stream, NO_ERROR, False))

    def _forget(self, stream: int) -> bool:
        """Whether the stream was open until now."""
        self._bodies.drop(stream)
        return self._streams.pop(stream, None) is not None

    def _look_for_end(self) -> None:
        """Be over behind a GOAWAY, of either side, and the last stream."""
        if self._is_ended and not (self._streams or self._untold or self.is_over):
            self._end_all(self.failure_code)

    def _end_all(self, code: int) -> None:
        self.is_over = True
        self.failure_code = code
        if code and not self.failure:
            self.failure = _name(code)
        self._tell()
        for stream in list(self._streams):
            if self._forget(stream):
                self._receiver.on_closed(stream, code, True)

    def _tell(self) -> None:
        while self._untold:
            self._receiver.on_closed(*self._untold.pop(0))

    # What goes

    def take(self) -> bytes:
        if not self.is_over:
            for stream in self._bodies.send():
                self._end_ours(stream)
        data = self._greeting + self._connection.data_to_send()
        self._greeting = b""
        self._tell()
        self._look_for_end()
        return data

    @property
    def has_output(self) -> bool:
        return True  # ``h2`` can't be asked

    @property
    def can_open(self) -> bool:
        return len(self._streams) < self._limit and not self.is_closing

    @property
    def is_closing(self) -> bool:
        return self.is_over or self._is_ended or self._last > LAST_STREAM

    def open(self, fields: Fields, *, is_end: bool) -> int:
        stream = self._last = self._connection.get_next_available_stream_id()
        self._connection.send_headers(stream, fields, end_stream=is_end)
        self._guard.halves.opened(stream)
        self._streams[stream] = _Halves(
            is_answered=True, is_said=is_end, is_sent=is_end
        )
        return stream

    def respond(self, stream: int, fields: Fields, *, is_end: bool) -> None:
        halves = self._streams.get(stream)
        if halves is None or halves.is_answered:
            raise StreamGone(f"stream {stream} waits for no head")
        try:
            self._connection.send_headers(stream, fields, end_stream=is_end)
        except H2Error as error:
            raise StreamGone(str(error)) from error
        halves.is_answered = fields[0][1][:1] != b"1"
        if is_end:
            self._end_ours(stream)

    def send(self, stream: int, data: bytes, *, is_end: bool) -> None:
        self._saying(stream).is_said = is_end
        self._bodies.add(stream, data, is_end=is_end)
        # Not what goes out: of a window of a byte come as many frames as it is opened.
        self._guard.sent += 1 + len(data) // FRAME

    def send_trailers(self, stream: int, fields: Fields) -> None:
        self._saying(stream).is_said = True
        self._bodies.add_trailers(stream, fields)

    def _saying(self, stream: int) -> _Halves:
        halves = self._streams.get(stream)
        if halves is None or halves.is_said or not halves.is_answered:
            raise StreamGone(f"stream {stream} is not open for a body")
        return halves

    def queued(self, stream: int) -> int:
        return self._bodies.size(stream)

    def consumed(self, stream: int, size: int) -> None:
        if size > 0 and not self.is_over:
            with suppress(H2Error, ValueError):
                self._connection.acknowledge_received_data(size, stream)

    def widen(self, stream: int, window: int) -> None:
        """Nothing: ``h2`` opens a window, but goes on reckoning with the narrow one."""

    def reset(self, stream: int, code: int) -> None:
        if self._forget(stream):
            self._reset(stream, code)
            self._untold.append((stream, code, bool(code)))

    def ping(self, payload: bytes) -> None:
        if not self.is_over:
            self._connection.ping(payload)

    def announce_end(self) -> None:
        if not self.is_over:
            self._connection.close_connection(NO_ERROR, last_stream_id=UNLIMITED)

    def end(self, code: int = NO_ERROR) -> None:
        if not self.is_over:
            self._is_ended = True
            self.failure_code = code
            self._last_taken = self._connection.highest_inbound_stream_id
            self._connection.close_connection(code)

    def fail(self, code: int, why: str) -> None:
        if not self.is_over:
            self.failure = why
            self._connection.close_connection(code)
            self._end_all(code)


def _name(code: int) -> str:
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"code {code}"
