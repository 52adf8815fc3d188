from __future__ import annotations

import sys
from random import Random

import pytest

from meshfilters.backoff import BackOff, retry_after
from meshfilters.message import Headers

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


class Full(Random):
    """Draws as high as chance goes."""

    def random(self) -> float:
        return 1.0


@pytest.mark.parametrize(("retry", "most"), [(1, 0.1), (2, 0.2), (3, 0.35), (4, 0.35)])
def test_the_span_doubles_up_to_the_most(retry: int, most: float) -> None:
    assert BackOff(base=0.1, max=0.35).draw(Full(), retry) == most


def test_the_jitter_is_full() -> None:
    random = Random(0)

    drawn = [BackOff(base=1, max=1).draw(random, 1) for _ in range(200)]

    assert min(drawn) < 0.05
    assert max(drawn) > 0.95


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"7", 7.0),
        (b" 120 ", 120.0),
        (b"Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        (b"Tue, 14 Nov 2023 22:12:20 GMT", 0.0),
        (b"", 0.0),
        (b"-3", 0.0),
        (b"soon", 0.0),
        (b"\xff\xfe", 0.0),
        (b"Tue, 99 Nov 2023 22:14:20 GMT", 0.0),
        (b"Mon, 01 Jan 0001 00:00:00 +2300", 0.0),
    ],
)
def test_what_retry_after_asks_for(value: bytes, seconds: float) -> None:
    assert retry_after(Headers([(b"Retry-After", value)]), NOW) == seconds


def test_without_retry_after_nothing_is_asked() -> None:
    assert retry_after(Headers(), NOW) == 0


def test_without_retry_after_no_date_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "email.utils", raising=False)
    retry_after(Headers(), NOW)

    assert "email.utils" not in sys.modules


@pytest.mark.parametrize("name", ["base", "max"])
def test_a_back_off_must_be_above_zero(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        BackOff(**{name: 0})
