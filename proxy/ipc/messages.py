"""What the processes of one proxy say to each other: JSON, one message a line.

Each message is a frozen attrs class with JSON values in its fields. On the wire it
carries its kind, the protocol's version and how many descriptors come with it. An
upgrade lets two versions of the code talk for a while, so fields that the reader does
not know are left out, fields that it misses take their defaults, and a message of an
unknown kind is None.
"""

from __future__ import annotations

import json
from typing import ClassVar

import attrs

VERSION = 1

JsonValue = object
"""What ``json`` can write: nothing here looks inside."""


@attrs.frozen
class Message:
    """The base of all messages; ``kind`` is its word on the wire."""

    kind: ClassVar[str] = ""


@attrs.frozen
class Ready(Message):
    """Child to supervisor: it does its work from here on."""

    kind: ClassVar[str] = "ready"


@attrs.frozen
class Beat(Message):
    """Child to supervisor, once a second: the main loop turns."""

    kind: ClassVar[str] = "beat"


@attrs.frozen
class Shutdown(Message):
    """Agent to supervisor: somebody asked for it on the admin port."""

    kind: ClassVar[str] = "shutdown"


@attrs.frozen
class Apply(Message):
    """Supervisor to worker: this is the configuration.

    ``opened`` names the listeners that are new or whose addresses changed, each with
    the number of its sockets: all of them, which come as descriptors in that order.
    """

    kind: ClassVar[str] = "apply"
    text: str = ""
    number: int = 0
    opened: list[tuple[str, int]] = attrs.field(factory=list)


@attrs.frozen
class Applied(Message):
    """Worker to supervisor: configuration ``number`` runs, or why it does not."""

    kind: ClassVar[str] = "applied"
    number: int = 0
    error: str | None = None


@attrs.frozen
class Drain(Message):
    """Supervisor to worker: finish what is under way, within ``grace`` seconds."""

    kind: ClassVar[str] = "drain"
    grace: float = 0.0


@attrs.frozen
class Quit(Message):
    """Supervisor to agent: save and send what is left, then end."""

    kind: ClassVar[str] = "quit"


@attrs.frozen
class Link(Message):
    """Supervisor to both ends: a socket of their own comes with this message."""

    kind: ClassVar[str] = "link"
    worker: int = 0
    """Number of the worker; never used twice in a supervisor's life."""
    slot: int = 0


@attrs.frozen
class State(Message):
    """Supervisor to agent, at each change: who is there."""

    kind: ClassVar[str] = "state"
    is_ready: bool = False
    workers: list[dict[str, JsonValue]] = attrs.field(factory=list)
    """``number``, ``slot``, ``pid`` and ``state`` of each worker."""
    restarts: int = 0
    """Workers that were replaced because they died or hung."""


@attrs.frozen
class Counters(Message):
    """Worker to agent: every counter since the worker's start."""

    kind: ClassVar[str] = "counters"
    families: list[JsonValue] = attrs.field(factory=list)


@attrs.frozen
class Spans(Message):
    """Worker to agent: finished spans."""

    kind: ClassVar[str] = "spans"
    records: list[JsonValue] = attrs.field(factory=list)


@attrs.frozen
class Ask(Message):
    """Agent to worker: ``what`` is counters, statistics or chains."""

    kind: ClassVar[str] = "ask"
    number: int = 0
    what: str = ""


@attrs.frozen
class Answer(Message):
    """Worker to agent: to the question of that number."""

    kind: ClassVar[str] = "answer"
    number: int = 0
    value: JsonValue = None


KINDS: dict[str, type[Message]] = {
    each.kind: each
    for each in (
        *(Ready, Beat, Shutdown, Apply, Applied, Drain),
        *(Quit, Link, State, Counters, Spans, Ask, Answer),
    )
}
_FIELDS = {
    each: [field.name for field in attrs.fields(each)] for each in KINDS.values()
}


def encode(message: Message, descriptors: int = 0) -> bytes:
    """One line, with its end."""
    kind = type(message)
    values: dict[str, JsonValue] = {"kind": kind.kind, "version": VERSION}
    if descriptors:
        values["descriptors"] = descriptors
    for name in _FIELDS[kind]:
        values[name] = getattr(message, name)
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> tuple[Message | None, int]:
    """The message of a line and how many descriptors came with it."""
    values = json.loads(line)
    descriptors = int(values.get("descriptors", 0))
    kind = KINDS.get(values.get("kind"))
    if kind is None:
        return None, descriptors
    known = {name: values[name] for name in _FIELDS[kind] if name in values}
    return kind(**known), descriptors
