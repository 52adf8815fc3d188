from __future__ import annotations

from benchmarks.loads.open_loop import FOR_P999, figures


def test_latencies_become_percentiles_in_microseconds() -> None:
    latencies = [0.001] * 98 + [0.002] * 2

    assert figures(latencies) == {"p50": 1000, "p99": 2000}


def test_a_rare_percentile_needs_many_samples() -> None:
    assert "p999" not in figures([0.001] * (FOR_P999 - 1))
    assert "p999" in figures([0.001] * FOR_P999)
