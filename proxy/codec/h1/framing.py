"""Bodies: how long they are, and how they are taken off a reader."""

from __future__ import annotations

from typing import Protocol

import attrs

from meshfilters.message import Headers
from proxy.codec.h1 import grammar
from proxy.codec.h1.fields import HOP_BY_HOP, drop, read_fields
from proxy.codec.h1.reader import Reader
from proxy.codec.h1.wire import WireError


class Decoder(Protocol):
    """A body's framing."""

    is_done: bool
    """Whether the last byte has been decoded; trailers are then there."""
    trailers: Headers

    @property
    def length(self) -> int | None:
        """Bytes of the whole body, if the head said."""
        ...

    @property
    def is_cut(self) -> bool:
        """Whether more of what is here was left to decode: it is others' turn."""
        ...

    def decode(self, reader: Reader) -> bytes:
        """Bytes of the body; ``b""`` when it is done or more must be received."""
        ...


NO_TRAILERS = Headers()

AT_A_STRETCH = 500
"""Chunks decoded at once. A read that is full of the smallest would hold up all other
connections for a tenth of a second, and 32 such reads may follow without a checkpoint."""


class Sized:
    """A body of a length its head told."""

    __slots__ = ("is_done", "left", "length", "trailers")

    is_cut = False

    def __init__(self, length: int) -> None:
        self.length = length
        self.left = length
        self.is_done = False
        self.trailers = NO_TRAILERS

    def decode(self, reader: Reader) -> bytes:
        piece = reader.take(self.left) if self.left else b""
        self.left -= len(piece)
        self.is_done = not self.left
        return piece


class UntilClose:
    """A response's body that ends with its connection."""

    __slots__ = ("is_done", "length", "trailers")

    is_cut = False

    def __init__(self) -> None:
        self.length: int | None = None
        self.is_done = False
        self.trailers = NO_TRAILERS

    def decode(self, reader: Reader) -> bytes:
        return reader.take(len(reader))


class Chunked:
    """A body in chunks, with trailers; extensions are dropped."""

    __slots__ = ("is_cut", "is_done", "left", "length", "trailers")

    def __init__(self) -> None:
        self.length: int | None = None
        self.is_cut = False
        self.left = -1
        """Bytes of the chunk to come; -1 before its size line, -2 in the trailers."""
        self.is_done = False
        self.trailers = NO_TRAILERS

    def decode(self, reader: Reader) -> bytes:
        """The whole and partial chunks that are here, as one piece."""
        pieces: list[bytes] = []
        self.is_cut = False
        while not self.is_done:
            if len(pieces) == AT_A_STRETCH:
                self.is_cut = True
                break
            if self.left == -1:
                if not self._read_size(reader):
                    break
            elif self.left == -2:
                if not self._read_trailers(reader):
                    break
            elif self.left:
                piece = reader.take(self.left)
                if not piece:
                    break
                self.left -= len(piece)
                pieces.append(piece)
            elif not self._read_chunk_end(reader):
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_size(self, reader: Reader) -> bool:
        data, start = reader.data, reader.start
        end = data.find(b"\r\n", start, start + grammar.MAX_CHUNK_LINE)
        if end < 0:
            partial = data[start : start + grammar.MAX_CHUNK_LINE]
            if len(partial) == grammar.MAX_CHUNK_LINE:
                raise WireError("chunk extension too long")
            if partial and not _may_start_chunk(partial):
                raise WireError("malformed chunk size")
            return False
        line = grammar.CHUNK_LINE.match(data, start)
        if line is None or line.end() != end + 2:
            raise WireError("malformed chunk size")
        reader.skip(end + 2 - start)
        self.left = int(line[1], 16) or -2
        return True

    def _read_chunk_end(self, reader: Reader) -> bool:
        ending = reader.data[reader.start : reader.start + 2]
        if not b"\r\n".startswith(ending):
            raise WireError("chunk longer than its size")
        if len(ending) < 2:
            return False
        reader.skip(2)
        self.left = -1
        return True

    def _read_trailers(self, reader: Reader) -> bool:
        data, start = reader.data, reader.start
        if data.startswith(b"\r\n", start):
            reader.skip(2)
            self.is_done = True
            return True
        end = data.find(b"\r\n\r\n", start)
        if end < 0 or end + 4 - start > TRAILER_LIMITS.max_head:
            if len(data) - start > TRAILER_LIMITS.max_head:
                raise WireError("trailers too large", 431)
            if grammar.BARE_LINE_END.search(data, max(start, reader.checked)):
                raise WireError("a line must end in CRLF")
            reader.checked = max(start, len(data) - 1)
            return False
        # A field line is known by the CRLF before it, which is consumed here.
        block = b"\r\n" + data[start : end + 2]
        fields, index = read_fields(block, 2, len(block), TRAILER_LIMITS)
        drop(fields, index, [name for name in index if name in FORBIDDEN_TRAILERS])
        self.trailers = Headers.parsed(fields, index)
        reader.skip(end + 4 - start)
        self.is_done = True
        return True


def _may_start_chunk(partial: bytes) -> bool:
    return grammar.STARTS_CHUNK_LINE.fullmatch(partial) is not None


@attrs.frozen
class _Bounds:
    max_headers: int
    max_head: int
    max_target: int = 0


TRAILER_LIMITS = _Bounds(max_headers=32, max_head=8 * 1024)

FORBIDDEN_TRAILERS = HOP_BY_HOP | {
    b"content-length",
    b"expect",
    b"trailer",
    b"host",
    b"authorization",
    b"set-cookie",
    b"cookie",
    b"content-encoding",
    b"content-type",
    b"content-range",
    b"cache-control",
    b"max-forwards",
}
"""Fields that would change what the head said (RFC 9110, 6.5.1)."""
