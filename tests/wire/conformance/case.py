"""What a case of HTTP/2 at a server is: what a client sends, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs

from tests.wire.frames import GET, Answer, Frames
from tests.wire.raw import END_HEADERS, Field, headers, ping

Step = bytes | Callable[[Frames], object]
"""Bytes are sent; a function waits, or looks at what has come."""

Reaches = Literal["nothing", "start", "whole"]

PAYLOAD = b"conforms"


@attrs.frozen
class Answered:
    """The stream's request is answered."""

    status: int = 200
    stream: int = 1


@attrs.frozen
class Ignored:
    """The connection goes on: a PING behind it all is answered."""

    may_end: bool = False
    """Whether it may as well end, if it ends well."""


@attrs.frozen
class Broken:
    """The connection fails: GOAWAY with one of the codes, and then its end."""

    codes: tuple[int, ...]


@attrs.frozen
class Failed:
    """The stream fails: RST_STREAM with one of the codes, or the connection with it."""

    codes: tuple[int, ...]
    stream: int = 1


@attrs.frozen
class Ended:
    """The connection ends, in whatever way."""


Want = Answered | Ignored | Broken | Failed | Ended


@attrs.frozen
class Case:
    name: str
    want: Want
    steps: tuple[Step, ...]
    reaches: Reaches
    """How much of a request may reach the origin, if it does not all end well."""
    greets: bool = True
    """Whether the preface and the settings go before it."""


def case(
    name: str,
    want: Want,
    *steps: Step,
    reaches: Reaches = "nothing",
    greets: bool = True,
) -> Case:
    return Case(name, want, steps, reaches, greets)


def broken(*codes: int) -> Broken:
    return Broken(codes)


def failed(*codes: int, stream: int = 1) -> Failed:
    return Failed(codes, stream)


def get(stream: int = 1, *more: Field) -> bytes:
    """A whole request."""
    return headers(stream, (*GET, *more))


def post(stream: int = 1, *more: Field) -> bytes:
    """The head of a request whose body follows."""
    fields = ((b":method", b"POST"), *GET[1:], *more)
    return headers(stream, fields, END_HEADERS)


def answered(stream: int = 1) -> Step:
    """Wait for the whole answer."""
    return lambda client: client.wait_for(stream)


def acknowledged(client: Frames) -> None:
    """Wait for the answer to a PING that came before."""
    client.wait(lambda: is_acknowledged(client, PAYLOAD))


def run(case: Case, client: Frames) -> list[str]:
    """Play ``case``; what is wrong with the outcome."""
    for step in case.steps:
        if isinstance(step, bytes):
            client.send(step)
        else:
            step(client)
    want = case.want
    if isinstance(want, Ended):
        while client.sock.recv(65536):
            pass
        return []
    if isinstance(want, Broken):
        return _check_broken(want, client)
    if isinstance(want, Failed):
        return _check_failed(want, client)
    if isinstance(want, Answered):
        answer = client.wait_for(want.stream)
        if answer.status == want.status and answer.is_ended:
            return []
        return [f"{answer}, {client.goaway}"]
    client.send(ping(PAYLOAD))
    client.wait(lambda: is_acknowledged(client, PAYLOAD))
    resets = [answer for answer in client.answers.values() if answer.reset]
    if want.may_end and client.has_ended and client.goaway is None:
        return []
    if client.has_ended or client.goaway or resets:
        return [f"not ignored: {client.goaway} {resets}"]
    return []


def _check_broken(want: Broken, client: Frames) -> list[str]:
    client.wait(lambda: client.has_ended)
    goaway = client.goaway
    if goaway is None:
        return ["an end without GOAWAY"]
    return [] if goaway.error_code in want.codes else [f"{goaway}"]


def _check_failed(want: Failed, client: Frames) -> list[str]:
    answer = client.answers.setdefault(want.stream, Answer())
    client.wait(lambda: answer.reset is not None or client.goaway)
    code = client.goaway.error_code if client.goaway else answer.reset
    return [] if code in want.codes else [f"{answer} {client.goaway}"]


def is_acknowledged(client: Frames, payload: bytes) -> bool:
    """Whether the answer to such a PING has come."""
    return any(
        getattr(each, "opaque_data", None) == payload and "ACK" in each.flags
        for each in client.received
    )
