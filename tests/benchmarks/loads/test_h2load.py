from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.loads.h2load import METHOD, parse, request
from benchmarks.loads.load import Done, Failed, Target

SAID = """\
starting benchmark...
spawning thread #0: 4 total client(s). Timing-based test with 0s of warm-up time
Application protocol: h2c

finished in {time}, 281200.00 req/s, 37.29MB/s
requests: 2100 total, 2228 started, 2100 done, {succeeded} succeeded, {failed} failed, \
{failed} errored, 0 timeout
status codes: {succeeded} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 74.58MB (78197611) total, 3.22MB (3374936) headers (space savings 96.15%)
"""


def said(succeeded: int = 2100, failed: int = 0, time: str = "2.00s") -> str:
    return SAID.format(succeeded=succeeded, failed=failed, time=time)


def test_requests_and_seconds_are_read() -> None:
    assert parse(said()) == Done(2100, 2.0)


def test_milliseconds_are_read_as_seconds() -> None:
    assert parse(said(time="498.08ms")).seconds == pytest.approx(0.49808)


def test_few_errors_are_tolerated() -> None:
    assert parse(said(2098, 2)).units == 2098


@pytest.mark.parametrize(("succeeded", "failed"), [(2090, 10), (0, 2100), (0, 0)])
def test_more_errors_or_no_answer_fail_the_run(succeeded: int, failed: int) -> None:
    with pytest.raises(Failed, match=f"{failed} errors beside {succeeded} requests"):
        parse(said(succeeded, failed))


def test_a_program_that_ended_early_fails_the_run() -> None:
    with pytest.raises(Failed, match="nothing of requests"):
        parse("starting benchmark...\n")


def test_a_call_posts_its_message_to_its_method(tmp_path: Path) -> None:
    *headers, data, message, url = request(Target(80, tmp_path, lambda: 0), True)

    assert headers == ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    assert data == "-d"
    assert Path(message).read_bytes() == b"\0\0\0\0\x64" + b"x" * 100
    assert url == f"http://127.0.0.1:80{METHOD}"


def test_what_is_no_call_is_a_get(tmp_path: Path) -> None:
    target = Target(80, tmp_path, lambda: 0)

    assert request(target, False) == ["http://127.0.0.1:80/"]
