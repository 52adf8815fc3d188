"""The golden requests, each in every position of a connection."""

from __future__ import annotations

import pytest

from tests.wire.case import Case
from tests.wire.client import Address
from tests.wire.judge import Position, complaints, report, run
from tests.wire.origin import Origin
from tests.wire.requests import (
    chunks,
    coding,
    fields,
    hops,
    length,
    line,
    more,
    target,
)

pytestmark = pytest.mark.wire

CASES: list[Case] = [
    *length.CASES,
    *coding.CASES,
    *chunks.CASES,
    *fields.CASES,
    *target.CASES,
    *line.CASES,
    *hops.CASES,
    *more.CASES,
]
OTHERS = {"pri-preface-h1", "tls-on-plain"}
"""What detection takes for another protocol, and rightly so."""
UNLIKELY = {"method-bad", "method-none", "method-8bit"}
"""What may be opaque until its line ends: its first bytes go on, and no more."""
SMALL = 4096
"""Longer cases are not sent byte by byte."""


@pytest.mark.parametrize("position", Position, ids=lambda each: each.value)
@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
def test_a_golden_request_is_answered_as_wanted(
    case: Case, position: Position, told: Address, origin: Origin
) -> None:
    judge(case, position, told, origin)


@pytest.mark.parametrize("position", Position, ids=lambda each: each.value)
@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
def test_detection_lets_nothing_past_that_is_to_be_refused(
    case: Case, position: Position, address: Address, origin: Origin
) -> None:
    if case.name in OTHERS:
        pytest.skip("detected as another protocol")
    if case.name in UNLIKELY and position is Position.BYTEWISE:
        position = Position.FIRST
    judge(case, position, address, origin)


def judge(case: Case, position: Position, address: Address, origin: Origin) -> None:
    if position is Position.BYTEWISE and len(case.data) > SMALL:
        position = Position.FIRST

    result = run(case, position, address, origin)
    found = complaints(case, position, result)

    assert not found, report(case, position, result, found)
    answer = result.answer
    assert answer is not None
    assert answer.status == 200 or answer.has(b"tulle-error")


def test_names_of_cases_are_unique() -> None:
    names = [case.name for case in CASES]

    assert len(set(names)) == len(names)
    assert len(names) >= 114
