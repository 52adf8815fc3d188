"""What an origin may say wrongly, on a fresh connection and on a pooled one."""

from __future__ import annotations

import attrs
import pytest

from tests.wire.case import head
from tests.wire.client import Address, Client
from tests.wire.judge import BEFORE, show
from tests.wire.origin import PATIENCE, Origin, Script
from tests.wire.reader import Message
from tests.wire.reply import BadGateway, Cut, Delivered, Reply
from tests.wire.responses import bodiless, coding, fields, length, line

REPLIES: list[Reply] = [
    *line.REPLIES,
    *fields.REPLIES,
    *length.REPLIES,
    *coding.REPLIES,
    *bodiless.REPLIES,
]
SMALL = 4096
NEXT = head(b"GET /next HTTP/1.1")
LAST = Script(
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnext", "end"
)

pytestmark = pytest.mark.wire
"""The answer to the request after a case: it leaves the pool empty for the next one."""


@attrs.define(eq=False)
class Run:
    """What the client got, and what the origin's connections went through."""

    answer: Message | None
    after: Message | None
    seen: list[Message]
    was_closed: bool

    @property
    def was_reused(self) -> bool:
        return self.seen[0].connection == self.seen[-1].connection


def run(reply: Reply, bare: Address, origin: Origin, patience: float = PATIENCE) -> Run:
    origin.take()
    origin.script = reply.script
    with Client(bare, patience) as client:
        answer = client.ask(reply.request, reply.asked)
    case = origin.take()
    look(bare)
    was_closed = not is_delivered(answer) and origin.is_gone(case[0].connection)
    origin.script = LAST
    with Client(bare, patience) as client:
        after = client.ask(NEXT)
    return Run(answer, after, case + origin.take(), was_closed)


def look(bare: Address) -> None:
    """Have the proxy look for all that has come to it."""
    # Who answers this has looked for what came before it; it needs no connection.
    with Client(bare) as client:
        refused = client.ask(b"GET / HTTP/1.1\r\n\r\n")
    assert refused is not None
    assert refused.status == 400


def is_delivered(answer: Message | None) -> bool:
    return answer is not None and answer.whole and answer.status != 502


def complaints(reply: Reply, run: Run) -> list[str]:
    verdicts = [judge(want, run) for want in reply.wants]
    return min(verdicts, key=len)


def judge(want: Delivered | BadGateway | Cut, run: Run) -> list[str]:
    found = []
    if len(run.seen) != 2:
        found.append(f"the origin saw {[each.line for each in run.seen]}")
    if run.after is None or run.after.body != b"next":
        found.append(f"the next request was answered {show(run.after)}")
    if isinstance(want, Delivered):
        return found + check_delivered(want, run)
    if run.was_reused or not run.was_closed:
        found.append("the origin's connection was kept")
    if run.answer is None:
        return [*found, "the client got no head"]
    if isinstance(want, Cut):
        if run.answer.status != want.status or run.answer.whole:
            found.append(f"answered {show(run.answer)}")
    elif run.answer.status != 502 or not run.answer.whole or run.answer.problems:
        found.append(f"answered {show(run.answer)}")
    return found


def check_delivered(want: Delivered, run: Run) -> list[str]:
    answer = run.answer
    if answer is None or not answer.whole or answer.problems:
        return [f"answered {show(answer)} {answer.problems if answer else ''}"]
    found = []
    if (answer.status, answer.body) != (want.status, want.body):
        found.append(f"answered {show(answer)}")
    found += [
        f"{name!r} is {answer.getall(name)}"
        for name, value in want.has.items()
        if answer.getall(name) != [value]
    ]
    found += [f"{name!r} was passed on" for name in want.lacks if answer.has(name)]
    if want.reused not in (None, run.was_reused):
        found.append(f"the origin's connection was reused: {run.was_reused}")
    return found


@pytest.mark.parametrize("delivery", ["fresh", "pooled", "bytewise"])
@pytest.mark.parametrize("reply", REPLIES, ids=lambda each: each.name)
def test_a_bad_answer_is_never_passed_on(
    reply: Reply, delivery: str, bare: Address, origin: Origin
) -> None:
    origin.drop()
    if delivery == "pooled" and not reply.fresh_only:
        with Client(bare) as client:
            client.ask(BEFORE)
    if delivery == "bytewise":
        reply = in_bytes(reply)

    result = run(reply, bare, origin)
    found = complaints(reply, result)

    assert not found, f"{reply.name}: {found}\n  {reply}\n  got {show(result.answer)}"
    answer = result.answer
    assert answer is not None
    assert answer.status != 502 or answer.has(b"tulle-error")


def in_bytes(reply: Reply) -> Reply:
    """The same in segments of one byte, where that is not too long and decides nothing.

    Bytes too many that come after the next request has gone out are its answer.
    """
    data = reply.script.reply
    has_extra = any(
        isinstance(each, Delivered) and not each.reused for each in reply.wants
    )
    if not isinstance(data, bytes) or len(data) > SMALL or has_extra:
        return reply
    script = attrs.evolve(reply.script, reply=[bytes([byte]) for byte in data])
    return attrs.evolve(reply, script=script)


def test_names_of_replies_are_unique() -> None:
    names = [reply.name for reply in REPLIES]

    assert len(set(names)) == len(names)
    assert len(names) >= 60


def test_an_answer_nobody_asked_for_costs_its_connection(
    bare: Address, origin: Origin
) -> None:
    with Client(bare) as client:
        client.ask(BEFORE)
        (before,) = origin.take()
        origin.push(before.connection, b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        look(bare)
        answer = client.ask(NEXT)

    assert answer is not None
    assert answer.body == b"GET /next"
    assert origin.take()[0].connection != before.connection
