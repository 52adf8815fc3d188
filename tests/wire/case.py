"""What a case of the corpus is: bytes, and what must come of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

After = Literal["open", "closed", "either"]


@attrs.frozen
class Passed:
    """The origin sees one canonical request, and the client the origin's answer."""

    line: bytes | None = None
    """The request line the origin sees; None is the one that was sent."""
    has: Mapping[bytes, bytes] = attrs.field(factory=dict)
    """Fields that are there exactly once, with this value."""
    lacks: tuple[bytes, ...] = ()
    """Names of fields and trailers that must not reach the origin."""
    body: bytes = b""
    after: After = "open"
    """Whether the client's connection goes on."""


@attrs.frozen
class Refused:
    """The client gets an answer of the proxy's own; the origin never a whole request."""

    statuses: tuple[int, ...]
    after: After = "either"
    """``either``: open and in step, or closed."""
    begun: bool = False
    """Whether the origin may have seen a beginning, which is then cut off."""


@attrs.frozen
class Case:
    """Bytes a client sends, and what will do as the outcome: any one of ``wants``."""

    name: str
    data: bytes
    wants: tuple[Passed | Refused, ...]

    @property
    def must_close(self) -> bool:
        return all(want.after == "closed" for want in self.wants)

    @property
    def asked(self) -> bytes:
        return self.data.lstrip(b"\r\n").partition(b" ")[0]


def case(name: str, data: bytes, *wants: Passed | Refused) -> Case:
    return Case(name, data, wants)


def refused(*statuses: int) -> Refused:
    return Refused(statuses)


def closed(*statuses: int) -> Refused:
    """Refused, and the connection with it: its framing is not to be trusted."""
    return Refused(statuses, after="closed")


def aborted(*statuses: int) -> Refused:
    """As ``closed``, but for a body: the origin may have seen the start of it."""
    return Refused(statuses, after="closed", begun=True)


def head(line: bytes, *fields: bytes) -> bytes:
    """A head with the Host field that every case has unless it is about it."""
    return b"\r\n".join([line, b"Host: a.test", *fields, b"", b""])


def get(*fields: bytes) -> bytes:
    return head(b"GET / HTTP/1.1", *fields)


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return head(b"POST / HTTP/1.1", *fields) + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def hosted(*hosts: bytes) -> bytes:
    """A GET with these Host fields instead of the usual one."""
    return b"\r\n".join(
        [b"GET / HTTP/1.1", *(b"Host: " + each for each in hosts), b"", b""]
    )
