from __future__ import annotations

import pytest

from benchmarks.loads.load import Done, Failed
from benchmarks.loads.wrk import parse

SAID = """\
Running 2s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.10ms    1.20ms  20.10ms   90.00%
    Req/Sec    20.70k     1.10k   22.00k    85.00%
  {requests} requests in {time}, 6.02MB read
{errors}Requests/sec:  20696.84
Transfer/sec:      2.99MB
"""


def said(requests: int = 41_622, time: str = "2.01s", errors: str = "") -> str:
    return SAID.format(requests=requests, time=time, errors=errors)


def test_requests_and_seconds_are_read() -> None:
    assert parse(said()) == Done(41_622, 2.01)


def test_a_time_of_minutes_is_read_as_seconds() -> None:
    assert parse(said(time="1.50m")).seconds == 90


def test_few_errors_are_tolerated() -> None:
    errors = "  Socket errors: connect 0, read 3, write 0, timeout 1\n"

    assert parse(said(errors=errors)).units == 41_622


@pytest.mark.parametrize(
    "errors",
    [
        "  Non-2xx or 3xx responses: 50\n",
        "  Socket errors: connect 0, read 25, write 0, timeout 25\n",
    ],
)
def test_more_errors_fail_the_run(errors: str) -> None:
    with pytest.raises(Failed, match="50 errors"):
        parse(said(errors=errors))


def test_no_request_at_all_fails_the_run() -> None:
    with pytest.raises(Failed, match="0 errors in 0 requests"):
        parse(said(requests=0))


def test_a_program_that_ended_early_fails_the_run() -> None:
    with pytest.raises(Failed, match="nothing of requests"):
        parse("unable to connect to 127.0.0.1:8080 Connection refused\n")
