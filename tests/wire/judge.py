"""Run a case in one of its positions and say what is wrong with what came of it."""

from __future__ import annotations

import enum

import attrs

from tests.wire.case import Case, Passed, Refused, head
from tests.wire.client import Address, Client
from tests.wire.origin import PATIENCE, Origin
from tests.wire.reader import Message

BEFORE = head(b"GET /before HTTP/1.1")
BEHIND = head(b"GET /behind HTTP/1.1")
BARRIER = head(b"GET /barrier HTTP/1.1", b"Connection: close")


class Position(enum.Enum):
    """Where in its connection a case stands."""

    FIRST = "first"
    SECOND = "second"
    """After a request that was answered."""
    PIPELINED = "pipelined"
    """In one segment with a request before it."""
    FOLLOWED = "followed"
    """In one segment with a request behind it."""
    BYTEWISE = "bytewise"
    """A segment for each byte."""


@attrs.define(eq=False)
class Run:
    """What happened on both sides of the proxy."""

    answer: Message | None = None
    behind: Message | None = None
    """The answer to the request after the case."""
    is_silent: bool = False
    """Whether the case got neither an answer nor an end."""
    is_open: bool = False
    extra: int = 0
    """Answers more than requests."""
    seen: list[Message] = attrs.field(factory=list)
    mistakes: list[str] = attrs.field(factory=list)


def run(
    case: Case,
    position: Position,
    address: Address,
    origin: Origin,
    patience: float = PATIENCE,
) -> Run:
    """Send the case, then a request behind it to see whether the two are told apart."""
    origin.take()
    result = Run()
    with Client(address, patience) as client:
        try:
            send(case, position, client, result)
            result.answer = client.answer(case.asked)
            result.is_open = result.answer is not None
            if result.is_open:
                look_behind(case, position, client, result)
        except TimeoutError:
            result.is_silent = result.answer is None
            result.is_open = True
    with Client(address, patience) as client:
        client.ask(BARRIER)
    result.seen = [each for each in origin.take() if each.target != b"/barrier"]
    return result


def send(case: Case, position: Position, client: Client, result: Run) -> None:
    if position is Position.SECOND:
        check_before(client.ask(BEFORE), result)
    if position is Position.PIPELINED:
        client.send(BEFORE + case.data)
        check_before(client.answer(), result)
    elif position is Position.FOLLOWED:
        client.send(case.data + BEHIND)
    else:
        client.send(case.data, bytewise=position is Position.BYTEWISE)


def check_before(answer: Message | None, result: Run) -> None:
    if answer is None or answer.body != b"GET /before":
        result.mistakes.append(f"the request before was answered {show(answer)}")


def look_behind(case: Case, position: Position, client: Client, result: Run) -> None:
    if position is not Position.FOLLOWED and not case.must_close:
        client.send(BEHIND)
    result.behind = client.answer()
    result.is_open = result.behind is not None
    while case.must_close and client.answer():
        result.extra += 1


def complaints(case: Case, position: Position, result: Run) -> list[str]:
    """What is wrong; empty when any of the case's wants came true."""
    verdicts = [judge(want, case, position, result) for want in case.wants]
    return min(verdicts, key=len)


def judge(
    want: Passed | Refused, case: Case, position: Position, run: Run
) -> list[str]:
    found = list(run.mistakes)
    seen = list(run.seen)
    is_preceded = position in (Position.SECOND, Position.PIPELINED)
    if is_preceded and (not seen or seen.pop(0).target != b"/before"):
        found.append("the origin did not see the request before")
    if run.behind is not None:
        found += check_behind(want, seen, run.behind)
    found += [
        f"not canonical towards the origin: {problem}"
        for message in seen
        for problem in message.problems
        if message.whole
    ]
    found += check_end(want, run)
    if isinstance(want, Passed):
        return found + check_passed(want, case, seen, run.answer)
    return found + check_refused(want, seen, run)


def check_behind(
    want: Passed | Refused, seen: list[Message], behind: Message
) -> list[str]:
    if want.after == "closed":
        return [f"something behind it was answered {show(behind)}"]
    if behind.body != b"GET /behind":
        return [f"the request behind it was answered {show(behind)}"]
    if not seen or seen.pop().target != b"/behind":
        return ["the origin did not see the request behind it"]
    return []


def check_end(want: Passed | Refused, run: Run) -> list[str]:
    if run.is_silent:
        return ["no answer"]
    found = [f"{run.extra} answers too many"] if run.extra else []
    if want.after == "closed" and run.is_open:
        return [*found, "the connection stayed open"]
    if want.after == "open" and not run.is_open:
        return [*found, "the connection was closed"]
    if want.after == "either" and run.is_open and run.behind is None:
        return [*found, "the connection stayed open, and deaf"]
    return found


def check_refused(want: Refused, seen: list[Message], run: Run) -> list[str]:
    found = []
    if run.answer is None:
        found.append("closed without an answer")
    elif run.answer.status not in want.statuses:
        found.append(f"answered {show(run.answer)}")
    else:
        found += run.answer.problems
    whole = [message for message in seen if message.whole]
    if whole or (seen and not want.begun):
        found.append(f"the origin saw {[message.raw[:200] for message in seen]}")
    return found


def check_passed(
    want: Passed, case: Case, seen: list[Message], answer: Message | None
) -> list[str]:
    if answer is None or answer.status != 200 or answer.problems:
        return [f"answered {show(answer)}"]
    if len(seen) != 1 or not seen[0].whole:
        return [f"the origin saw {[message.raw[:200] for message in seen]}"]
    message = seen[0]
    line = want.line or case.data.partition(b"\r\n")[0]
    found = []
    if message.line != line:
        found.append(f"the origin saw the line {message.line!r}")
    if message.body != want.body:
        found.append(f"the origin saw the body {message.body[:200]!r}")
    for name, value in want.has.items():
        if message.getall(name) != [value]:
            found.append(f"the origin saw {name!r}: {message.getall(name)}")
    names = {name.lower() for name, _ in message.fields + message.trailers}
    found += [f"the origin saw {name!r}" for name in want.lacks if name in names]
    return found


def show(answer: Message | None) -> str:
    if answer is None:
        return "with the end of the connection"
    return repr(answer.raw[:200]) + ("" if answer.whole else " and cut")


def report(case: Case, position: Position, run: Run, found: list[str]) -> str:
    """The whole story of a case that failed, for whoever has to mend it."""
    sent = case.data if len(case.data) < 500 else case.data[:500] + b"..."
    lines = [
        f"{case.name}, {position.value}: " + "; ".join(found),
        f"  sent   {sent!r}",
        f"  got    {'silence' if run.is_silent else show(run.answer)}",
        f"  behind {show(run.behind) if run.behind else 'nothing'}",
        f"  then   {'open' if run.is_open else 'closed'}",
        *(f"  origin {m.raw[:300]!r} whole={m.whole}" for m in run.seen),
        f"  want   {' or '.join(map(str, case.wants))}",
    ]
    return "\n".join(lines)
