"""Requests and responses: headers, bodies with trailers, and nothing of the wire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from meshfilters.exchange import Exchange, Outcome
from meshfilters.stream import Stream

__all__ = [
    "EMPTY",
    "IDEMPOTENT",
    "Body",
    "Buffered",
    "Headers",
    "Outcome",
    "Request",
    "Response",
]

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""Methods that may be sent again without asking (RFC 9110, 9.2.2)."""


# Of bytes alone: a name that is text would be found nowhere, and nobody be told.
_lower = bytes.lower


class Written:
    """What codecs made of fields that several heads share; theirs alone.

    Of each protocol the last whole head is kept, behind what it was made of besides.
    """

    __slots__ = ("block", "h1", "h2")

    def __init__(self, block: bytes | None = None) -> None:
        self.block = block
        """The fields, as HTTP/1.1 has them."""
        self.h1: tuple[tuple[object, ...], bytes] | None = None
        self.h2: tuple[tuple[object, ...], Sequence[tuple[bytes, bytes]]] | None = None


class Headers:
    """Fields in the order and spelling they came; names are looked up in any case.

    Names and values are bytes. Codecs refuse CR, LF and NUL when they write.
    """

    __slots__ = ("_index", "_parsed", "_raw", "written")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        # Shared by copies, and by heads of a connection that are alike: an edit makes
        # another list, and never changes this one.
        self._raw: Sequence[tuple[bytes, bytes]] = list(fields)
        # Lower-case name -> last value; dropped by every edit, made when asked for.
        self._index: Mapping[bytes, bytes] | None = None
        # The fields as a codec has checked them.
        self._parsed: Sequence[tuple[bytes, bytes]] | None = None
        self.written: Written | None = None
        """For codecs; good while nothing is edited."""

    @classmethod
    def parsed(
        cls,
        fields: Sequence[tuple[bytes, bytes]],
        index: Mapping[bytes, bytes],
        written: Written | None = None,
    ) -> Headers:
        """For codecs: fields whose every byte has been checked, with their index."""
        headers = cls.__new__(cls)
        headers._raw = headers._parsed = fields
        headers._index = index
        headers.written = written
        return headers

    @property
    def is_edited(self) -> bool:
        """Whether a codec must check the fields before it writes them."""
        return self._raw is not self._parsed

    @property
    def raw(self) -> Sequence[tuple[bytes, bytes]]:
        """The fields themselves. To be read, not edited."""
        return self._raw

    @property
    def index(self) -> Mapping[bytes, bytes]:
        """Lower-case names, each with its last value. To be read, not edited."""
        if self._index is None:
            self._index = {name.lower(): value for name, value in self._raw}
        return self._index

    def get(self, name: bytes, default: bytes | None = None) -> bytes | None:
        """The last value of ``name``."""
        return self.index.get(_lower(name), default)

    def getall(self, name: bytes) -> list[bytes]:
        """Every value of ``name``, in order."""
        wanted = _lower(name)
        if wanted not in self.index:
            return []
        return [value for each, value in self._raw if each.lower() == wanted]

    def add(self, name: bytes, value: bytes) -> None:
        """Append a field, whether or not there is one of that name."""
        if not isinstance(name, bytes):
            raise _no_bytes(name, value)
        if not isinstance(value, bytes):
            raise _no_bytes(name, value)
        self._raw = [*self._raw, (name, value)]
        self._index = None

    def set(self, name: bytes, value: bytes) -> None:
        """Have one field of that name: in the place of the first, or at the end."""
        wanted = name.lower()
        if wanted not in self.index:
            self.add(name, value)
            return
        if not isinstance(value, bytes):
            raise _no_bytes(name, value)
        fields: list[tuple[bytes, bytes]] = []
        placed = False
        for field in self._raw:
            if field[0].lower() != wanted:
                fields.append(field)
            elif not placed:
                fields.append((field[0], value))
                placed = True
        self._raw = fields
        self._index = None

    def remove(self, *names: bytes) -> None:
        """Drop every field of these names."""
        unwanted = {_lower(name) for name in names}
        if not unwanted.isdisjoint(self.index):
            kept = [f for f in self._raw if f[0].lower() not in unwanted]
            if not self.is_edited:
                self._parsed, self.written = kept, None
            self._raw = kept
            self._index = None

    def copy(self) -> Headers:
        """Another Headers with the same fields; an edit of one leaves the other."""
        copied = Headers.__new__(Headers)
        copied._raw, copied._index = self._raw, self._index
        copied._parsed, copied.written = self._parsed, self.written
        return copied

    def __contains__(self, name: bytes) -> bool:
        return _lower(name) in self.index

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and [*self._raw] == [*other._raw]

    __hash__ = None  # type: ignore[assignment]  # mutable: must not be a key

    def __repr__(self) -> str:
        return f"Headers({[*self._raw]!r})"


def _no_bytes(name: object, value: object) -> TypeError:
    # Told here, where the filter's line is; a codec knows the field and not the filter.
    return TypeError(f"header field {name!r}: {value!r} is not bytes")


class Body(Protocol):
    """Bytes that come to an end, and perhaps trailers after it.

    Nothing moves until somebody asks for the next chunk: that is the whole of
    the back-pressure. Closing early tells the other side to stop.
    """

    @property
    def length(self) -> int | None:
        """Bytes in all, or None when nobody knows yet: it is then sent in chunks."""
        ...

    @property
    def trailers(self) -> Headers:
        """Valid once ``receive`` has returned ``b""``."""
        ...

    async def receive(self) -> bytes:
        """The next chunk, or ``b""`` at the end, then and ever after."""
        ...

    async def aclose(self) -> None:
        """Want no more of it. Idempotent, and safe under cancellation."""
        ...


class Buffered:
    """A body that is here already.

    One with trailers tells no length: beside a length, HTTP/1.1 has no place for them.
    """

    __slots__ = ("_left", "_trailers", "data")

    def __init__(self, data: bytes, trailers: Headers | None = None) -> None:
        self.data = data
        self._trailers = trailers
        self._left = data

    @property
    def trailers(self) -> Headers:
        if self._trailers is None:
            self._trailers = Headers()
        return self._trailers

    @property
    def has_trailers(self) -> bool:
        """Whether anything follows the data."""
        return bool(self._trailers)

    @property
    def length(self) -> int | None:
        return None if self._trailers else len(self.data)

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it has been received yet."""
        return len(self._left) == len(self.data)

    async def receive(self) -> bytes:
        chunk, self._left = self._left, b""
        return chunk

    async def aclose(self) -> None:
        self._left = b""

    def __repr__(self) -> str:
        return f"<Buffered {len(self._left)} of {len(self.data)} bytes left>"


EMPTY = Buffered(b"")
"""No body. Shared: it has no state to lose."""


class Request:
    """What a client asks.

    Yours to replace with ``with_``, not to edit, if you may call ``inner`` twice.
    """

    __slots__ = ("body", "destination", "exchange", "headers", "method", "target")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        destination: str,
        exchange: Exchange,
        body: Body = EMPTY,
    ) -> None:
        self.method = method
        self.target = target
        """As the application will see it: origin-form, ``*``, or CONNECT's authority."""
        self.headers = headers
        self.destination = destination
        """The name of a service, not an address."""
        self.exchange = exchange
        self.body = body

    @property
    def is_idempotent(self) -> bool:
        """Whether sending it twice is as good as once."""
        return self.method in IDEMPOTENT

    def with_(
        self,
        *,
        method: bytes | None = None,
        target: bytes | None = None,
        headers: Headers | None = None,
        destination: str | None = None,
        body: Body | None = None,
    ) -> Request:
        """A copy with something else in it; it shares what is not named."""
        return Request(
            self.method if method is None else method,
            self.target if target is None else target,
            self.headers if headers is None else headers,
            self.destination if destination is None else destination,
            self.exchange,
            self.body if body is None else body,
        )

    def __repr__(self) -> str:
        line = f"{self.method.decode('latin-1')} {self.target.decode('latin-1')}"
        return f"<Request {line} to {self.destination}>"


class Response:
    """What a service answers. It owns no task: pulling its body drives the socket."""

    __slots__ = ("body", "headers", "status", "upgrade")

    def __init__(
        self,
        status: int,
        headers: Headers | None = None,
        body: Body = EMPTY,
        upgrade: Stream | None = None,
    ) -> None:
        self.status = status
        self.headers = headers if headers is not None else Headers()
        self.body = body
        self.upgrade = upgrade
        """After 101 or a granted CONNECT: the upstream's bytes, no longer HTTP."""

    def with_(
        self,
        *,
        status: int | None = None,
        headers: Headers | None = None,
        body: Body | None = None,
        upgrade: Stream | None = None,
    ) -> Response:
        """A copy with something else in it; it shares what is not named."""
        return Response(
            self.status if status is None else status,
            self.headers if headers is None else headers,
            self.body if body is None else body,
            self.upgrade if upgrade is None else upgrade,
        )

    def __repr__(self) -> str:
        return f"<Response {self.status}>"
