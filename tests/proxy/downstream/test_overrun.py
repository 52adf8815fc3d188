from __future__ import annotations

import math

import pytest

from meshfilters.errors import BadRequest, ClientGone, DeadlineExceeded, MeshError
from meshfilters.exchange import Exchange, Limits
from meshfilters.testing import Kit
from proxy.downstream.overrun import Quiet, next_look, overrun

NEITHER = {"is_client_sending": False, "is_client_taking": False}
PATIENCE = 60


def exchange(**limits: float) -> Exchange:
    kit = Kit()
    kit.now, kit.limits = 100, Limits(**limits)
    return kit.ask().exchange


@pytest.mark.parametrize(
    ("limits", "touched", "now", "when"),
    [
        ({"request": 5}, 100, 100, 105),
        ({"idle": 7}, 103, 103, 110),
        ({"request": 500, "idle": 500}, 101, 102, 161),
        ({}, 100, 170, 230),  # the upstream is slow: look again, not at once
    ],
)
def test_the_next_look_is_when_a_limit_may_run_out(
    limits: dict[str, float], touched: float, now: float, when: float
) -> None:
    assert next_look(exchange(**limits), touched, now, PATIENCE) == when


@pytest.mark.parametrize(
    ("limits", "quiet", "error"),
    [
        ({}, Quiet(1e6, **NEITHER), None),
        ({"request": 20}, Quiet(0, **NEITHER), DeadlineExceeded),
        ({"request": 21}, Quiet(0, **NEITHER), None),
        ({"idle": 9}, Quiet(9, **NEITHER), DeadlineExceeded),
        ({"idle": 9}, Quiet(8, **NEITHER), None),
        ({}, Quiet(60, is_client_sending=True, is_client_taking=False), BadRequest),
        (
            {"idle": 5},
            Quiet(5, is_client_sending=True, is_client_taking=False),
            BadRequest,
        ),
        ({}, Quiet(59, is_client_sending=True, is_client_taking=False), None),
        ({}, Quiet(60, is_client_sending=False, is_client_taking=True), ClientGone),
        ({}, Quiet(59, is_client_sending=False, is_client_taking=True), None),
    ],
)
def test_who_is_waited_for_decides_the_answer(
    limits: dict[str, float], quiet: Quiet, error: type[MeshError] | None
) -> None:
    found = overrun(exchange(**limits), quiet, 120, PATIENCE)

    assert (type(found) if found else None) is error


def test_a_client_that_stops_sending_is_told_408() -> None:
    quiet = Quiet(math.inf, is_client_sending=True, is_client_taking=False)

    found = overrun(exchange(), quiet, 120, PATIENCE)

    assert found is not None
    assert found.status == 408
