"""What a case of a bad HTTP/2 origin is: its frames, and what a client may get of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import attrs

from tests.wire.backend import GREETING, Ending, Mistake
from tests.wire.raw import END_HEADERS, Field, headers

Outcome = Literal["bad", "cut", "good"]
"""502; a head and then an end that nobody can take for whole; a whole answer."""

Costs = Literal["connection", "stream", "nothing"]

STATUS: Field = (b":status", b"200")


@attrs.frozen
class Case:
    mistake: Mistake
    wants: tuple[Outcome, ...]
    costs: Costs
    reads_late: bool = False
    """Whether the client reads nothing until the origin's connection is over."""

    @property
    def name(self) -> str:
        return self.mistake.name


def case(
    name: str,
    answer: bytes | Callable[[int], bytes | Iterable[bytes]],
    *wants: Outcome,
    costs: Costs = "connection",
    greeting: bytes = GREETING,
    then: Ending = "stay",
    is_deaf: bool = False,
    is_early: bool = False,
    reads_late: bool = False,
    lasts: bool = False,
) -> Case:
    """``answer`` is made of the request's stream; at once, or piece by piece."""

    def pieces(stream: int) -> Iterable[bytes]:
        made = answer if isinstance(answer, bytes) else answer(stream)
        return [made] if isinstance(made, bytes) else made

    mistake = Mistake(name, pieces, greeting, is_early, is_deaf, then, lasts)
    return Case(mistake, wants or ("bad",), costs, reads_late)


def head(stream: int, *more: Field, flags: int = END_HEADERS) -> bytes:
    """A good head, of which a body follows."""
    return headers(stream, [STATUS, *more], flags)
