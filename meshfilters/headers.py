"""Set, add and remove headers of requests and of responses."""

from __future__ import annotations

import re

import attrs

from meshfilters.api import RequestFilter, Service
from meshfilters.env import Env
from meshfilters.message import Headers, Request, Response

FRAMING = frozenset(
    {
        *("connection", "content-length", "expect", "host", "keep-alive"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Names that decide where a message ends and where it goes: the codecs' own."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _check_name(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name (RFC 9110, 5.1)")
    if name.lower() in FRAMING:
        raise ValueError(
            f"{name} is not for filters to change: the proxy frames with it"
        )


def _check_names(
    instance: object,
    attribute: attrs.Attribute[tuple[str, ...]],
    names: tuple[str, ...],
) -> None:
    for name in names:
        _check_name(name)


def _check_fields(
    instance: object, attribute: attrs.Attribute[dict[str, str]], fields: dict[str, str]
) -> None:
    for name, value in fields.items():
        _check_name(name)
        if _UNFIT.search(value):
            raise ValueError(f"the value of {name} has a control character: {value!r}")
        if value != value.strip(" \t"):
            raise ValueError(
                f"the value of {name} has white space around it: {value!r}"
            )


@attrs.frozen
class Edits:
    """What happens to the headers of one direction: remove, then set, then add."""

    set: dict[str, str] = attrs.field(factory=dict, validator=_check_fields)
    """One field of that name, whatever there was."""
    add: dict[str, str] = attrs.field(factory=dict, validator=_check_fields)
    """One field more."""
    remove: tuple[str, ...] = attrs.field(default=(), validator=_check_names)

    def __attrs_post_init__(self) -> None:
        once = [name.lower() for name in (*self.set, *self.remove)]
        for name in once:
            if once.count(name) > 1:
                raise ValueError(f"{name} is set or removed twice")


@attrs.frozen
class HeaderRules:
    """Set, add and remove headers of requests and of responses.

    The word in the file is ``headers``; ``meshfilters.message.Headers`` is what it
    edits. Trailers, informational responses and what the proxy itself answers to an error
    pass as they are.
    """

    request: Edits = Edits()
    response: Edits = Edits()

    def build(self, env: Env) -> RequestFilter:
        ask, answer = _Editor(self.request), _Editor(self.response)

        async def headers(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            if ask.is_active:
                request = request.with_(headers=ask.edit(request.headers))
            response = await inner(request)
            if answer.is_active:
                response = response.with_(headers=answer.edit(response.headers))
            return response

        return headers


class _Editor:
    """Edits made ready: one pass, and a header that is set goes to the end."""

    __slots__ = ("_dropped", "_fields", "is_active")

    def __init__(self, edits: Edits) -> None:
        self._dropped = {name.lower().encode() for name in (*edits.set, *edits.remove)}
        self._fields = [
            (name.encode(), value.encode())
            for name, value in (*edits.set.items(), *edits.add.items())
        ]
        self.is_active = bool(self._dropped or self._fields)

    def edit(self, headers: Headers) -> Headers:
        dropped = self._dropped
        if dropped.isdisjoint(headers.index):
            return Headers([*headers.raw, *self._fields])
        kept = [field for field in headers.raw if field[0].lower() not in dropped]
        return Headers(kept + self._fields)
