"""Both ends of an HTTP/2 connection, and what each was told."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from hyperframe.frame import Frame

from proxy.codec import h2
from proxy.codec.h2.hyper import HyperCodec
from proxy.codec.h2.nghttp2 import Nghttp2Codec

GET = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"app"),
    (b":path", b"/"),
]
OK = [(b":status", b"200")]

Make = Callable[[h2.Role, h2.Settings, h2.Receiver], h2.Codec]

LIBRARIES: dict[str, Make] = {"ngh2": Nghttp2Codec, "h2": HyperCodec}


@attrs.define(eq=False)
class End:
    """One end: a codec, and its receiver."""

    role: h2.Role
    settings: h2.Settings = attrs.field(factory=h2.Settings)
    library: str = "ngh2"
    heads: list[tuple[int, list[tuple[bytes, bytes]], bool]] = attrs.field(factory=list)
    informational: list[bytes] = attrs.field(factory=list)
    data: dict[int, bytes] = attrs.field(factory=dict)
    trailers: dict[int, list[tuple[bytes, bytes]]] = attrs.field(factory=dict)
    ended: list[int] = attrs.field(factory=list)
    closed: list[tuple[int, int, bool]] = attrs.field(factory=list)
    goaways: list[tuple[int, int]] = attrs.field(factory=list)
    pongs: list[bytes] = attrs.field(factory=list)
    rooms: int = 0
    codec: h2.Codec = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.codec = LIBRARIES[self.library](self.role, self.settings, self)
        self.codec.start()

    def on_head(self, stream: int, fields: h2.Fields, is_end: bool) -> None:
        self.heads.append((stream, [*fields], is_end))

    def on_informational(self, stream: int, fields: h2.Fields) -> None:
        self.informational.append(fields[0][1])

    def on_data(self, stream: int, data: bytes, is_end: bool) -> None:
        self.data[stream] = self.data.get(stream, b"") + data
        if is_end:
            self.ended.append(stream)

    def on_trailers(self, stream: int, fields: h2.Fields) -> None:
        self.trailers[stream] = [*fields]

    def on_closed(self, stream: int, code: int, is_ours: bool) -> None:
        self.closed.append((stream, code, is_ours))

    def on_goaway(self, last: int, code: int) -> None:
        self.goaways.append((last, code))

    def on_pong(self, payload: bytes) -> None:
        self.pongs.append(payload)

    def on_room(self) -> None:
        self.rooms += 1


@attrs.define(eq=False)
class Ends:
    """A client and a server that hear each other."""

    client: End = attrs.field(factory=lambda: End("client"))
    server: End = attrs.field(factory=lambda: End("server"))
    bytewise: bool = False

    def talk(self) -> None:
        """Pass bytes both ways until there are none."""
        while True:
            there, back = self.client.codec.take(), self.server.codec.take()
            if not there and not back:
                return
            self._pass(there, self.server)
            self._pass(back, self.client)

    def _pass(self, data: bytes, to: End) -> None:
        size = 1 if self.bytewise else len(data) or 1
        for start in range(0, len(data), size):
            to.codec.receive(data[start : start + size])

    def ask(self, *, is_end: bool = True) -> int:
        stream = self.client.codec.open(GET, is_end=is_end)
        self.talk()
        return stream


def frames(data: bytes) -> list[Frame]:
    """What was sent, frame by frame."""
    found = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        found.append(frame)
        data = data[9 + length :]
    return found
