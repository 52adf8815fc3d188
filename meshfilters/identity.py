"""Tell the application who called, and let no client say it by itself.

An application that trusts ``l5d-client-id`` trusts everyone who can send it. So every
header a proxy speaks with is taken out of what clients send: in any case, with ``_``
or another sign for ``-`` (a CGI variable does not know the difference), twice, in
trailers. Naming one in ``Connection``, so that it is dropped on the way, is undone.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import attrs

from meshfilters.api import RequestFilter, Service
from meshfilters.env import Env
from meshfilters.message import Body, Buffered, Headers, Request, Response
from meshfilters.spellings import Spellings, check_patterns
from meshfilters.told import FOR, PROTO, Fields, Told, forwarded

Mode = Literal["set", "append", "remove", "keep"]

SPOKEN = ("l5d-client-id", "tulle-client-id", "x-forwarded-client-cert")
"""What no client may say, whatever ``strip`` says."""


@attrs.frozen
class Identity:
    """Strip identity headers that a client sent; say who it is by its certificate.

    ``l5d-client-id`` and ``x-forwarded-client-cert`` are there if and only if the
    client proved a name. What ``strip`` names is gone; ``x-forwarded-for`` and
    ``-proto`` follow their modes: ``set`` to this connection's, ``append`` it to the
    client's, ``remove``, or ``keep`` the client's. Append and keep trust the client.
    """

    outside: ClassVar = {"headers": "a header it strips may be one that headers sets"}

    by: str | None = None
    """This proxy's own identity, for ``By`` in ``x-forwarded-client-cert``."""
    strip: tuple[str, ...] = attrs.field(
        default=("l5d-*", "tulle-*", "forwarded", "x-real-ip", "x-forwarded-*"),
        validator=check_patterns,
    )
    forwarded_for: Mode = "set"
    forwarded_proto: Mode = "set"

    def build(self, env: Env) -> RequestFilter:
        unwanted = Spellings((*SPOKEN, FOR.decode(), PROTO.decode(), *self.strip))
        modes = {FOR: self.forwarded_for, PROTO: self.forwarded_proto}
        told = Told(self.by, [name for name in modes if modes[name] == "set"])
        heard = [name for name in modes if modes[name] in ("append", "keep")]

        async def identity(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            headers, connection = request.headers, request.exchange.connection
            fields = list(headers.raw)
            if unwanted.has_any(headers.index):
                env.decide("stripped")
                fields = [field for field in fields if field[0] not in unwanted]
            if b"connection" in headers.index:
                fields = _without_nominations(fields, unwanted)
            fields = fields + told.about(connection)
            for name in heard:
                values = headers.getall(name)
                if modes[name] == "append":
                    values += forwarded(name, connection)
                if values:
                    fields.append((name, b", ".join(values)))
            body = request.body
            if type(body) is not Buffered or body.trailers:
                body = _Cleaned(body, unwanted)
            return await inner(request.with_(headers=Headers(fields), body=body))

        return identity


class _Cleaned:
    """A body whose trailers say nothing that its headers may not."""

    __slots__ = ("_body", "_unwanted")

    def __init__(self, body: Body, unwanted: Spellings) -> None:
        self._body = body
        self._unwanted = unwanted

    @property
    def length(self) -> int | None:
        return self._body.length

    @property
    def trailers(self) -> Headers:
        trailers = self._body.trailers
        return Headers([each for each in trailers if each[0] not in self._unwanted])

    async def receive(self) -> bytes:
        return await self._body.receive()

    async def aclose(self) -> None:
        await self._body.aclose()


def _without_nominations(fields: Fields, unwanted: Spellings) -> Fields:
    kept = []
    for name, value in fields:
        if name.lower() == b"connection":
            options = [option.strip() for option in value.split(b",")]
            value = b", ".join(each for each in options if each not in unwanted)
            if not value:
                continue
        kept.append((name, value))
    return kept
