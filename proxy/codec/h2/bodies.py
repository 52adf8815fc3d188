"""Bodies that wait for windows, for a library that queues nothing itself: ``h2``."""

from __future__ import annotations

import attrs
from h2.connection import H2Connection

from proxy.codec.h2.codec import Fields

FRAME = 16_384
"""Bytes of a frame at most, whatever the peer allows: then it is another stream's turn."""


@attrs.define(eq=False)
class _Rest:
    """What one stream has yet to send."""

    body: bytearray = attrs.field(factory=bytearray)
    trailers: Fields | None = None
    is_ended: bool = False
    """Whether nothing is to be added: the end stands behind the body."""


class Bodies:
    """What all streams of a connection have yet to send behind their heads.

    They take turns, a frame each; one that has to wait keeps its turn.
    """

    def __init__(self, connection: H2Connection) -> None:
        self._connection = connection
        self._waiting: dict[int, _Rest] = {}

    def add(self, stream: int, data: bytes, *, is_end: bool) -> None:
        if data or is_end:
            rest = self._rest(stream)
            rest.body += data
            rest.is_ended = is_end

    def add_trailers(self, stream: int, fields: Fields) -> None:
        rest = self._rest(stream)
        rest.trailers = fields
        rest.is_ended = True

    def _rest(self, stream: int) -> _Rest:
        rest = self._waiting.get(stream)
        if rest is None:
            rest = self._waiting[stream] = _Rest()
        return rest

    def size(self, stream: int) -> int:
        rest = self._waiting.get(stream)
        return len(rest.body) if rest is not None else 0

    def drop(self, stream: int) -> None:
        self._waiting.pop(stream, None)

    def send(self) -> list[int]:
        """Hand over what the windows allow; the streams whose end was among it."""
        ended: list[int] = []
        waiting, blocked = self._waiting, {}
        while waiting:
            stream = next(iter(waiting))
            rest = waiting.pop(stream)
            if not self._send_frame(stream, rest):
                blocked[stream] = rest
            elif rest.body:
                waiting[stream] = rest
            elif rest.is_ended:
                ended.append(stream)
        self._waiting = blocked
        return ended

    def _send_frame(self, stream: int, rest: _Rest) -> bool:
        """Whether anything could be sent: a frame, and the end if that was the last."""
        connection, body = self._connection, rest.body
        if body:
            allowed = min(FRAME, connection.max_outbound_frame_size)
            room = min(allowed, connection.local_flow_control_window(stream))
            if room <= 0:
                return False
            data = bytes(body[:room])
            del body[:room]
            is_end = rest.is_ended and not body and rest.trailers is None
            connection.send_data(stream, data, end_stream=is_end)
            if is_end or body:
                return True
        if rest.trailers is not None:
            connection.send_headers(stream, rest.trailers, end_stream=True)
        elif rest.is_ended:
            connection.end_stream(stream)
        return True
