from __future__ import annotations

import pytest

from meshfilters.errors import AttemptTimeout, ClientGone
from meshfilters.exchange import Attempt, Outcome
from meshfilters.message import Request
from meshfilters.rpc_semconv import (
    attempt_status,
    client_fault,
    rpc_attributes,
    server_fault,
)
from meshfilters.testing import Kit


@pytest.fixture
def request_() -> Request:
    return Kit().ask(b"POST", b"/shop.Cart/Add")


def tried(request: Request, status: int | None = 200) -> Attempt:
    attempt = Kit().attempt(request)
    attempt.status = status
    return attempt


def test_a_call_has_system_method_and_status(request_: Request) -> None:
    assert rpc_attributes(request_, 4) == {
        "rpc.system.name": "grpc",
        "rpc.method": "shop.Cart/Add",
        "rpc.response.status_code": "DEADLINE_EXCEEDED",
    }


def test_a_method_the_server_does_not_know_is_other(request_: Request) -> None:
    assert rpc_attributes(request_, 12) == {
        "rpc.system.name": "grpc",
        "rpc.method": "_OTHER",
        "rpc.method_original": "shop.Cart/Add",
        "rpc.response.status_code": "UNIMPLEMENTED",
    }


def test_a_path_that_is_no_methods_is_other_cut_and_escaped() -> None:
    found = rpc_attributes(Kit().ask(target=b"/a\r\n" + b"x" * 999), 0)

    assert found["rpc.method"] == "_OTHER"
    assert found["rpc.method_original"] == r"a\r\n" + "x" * 253 + "..."


def test_servers_and_clients_see_different_faults() -> None:
    assert [code for code in range(17) if server_fault(code)] == [2, 4, 12, 13, 14, 15]
    assert [code for code in range(17) if not client_fault(code)] == [0]
    assert server_fault(14) == client_fault(14) == "UNAVAILABLE"


def test_an_attempt_that_was_dropped_has_what_was_noted(request_: Request) -> None:
    attempt = tried(request_)
    attempt.grpc_status = 8
    tried(request_)

    assert attempt_status(request_, attempt, Outcome(200, grpc_status=0)) == 8


def test_an_attempt_that_failed_has_its_errors_status(request_: Request) -> None:
    attempt = tried(request_, None)
    attempt.error = AttemptTimeout()

    assert attempt_status(request_, attempt, Outcome(200, grpc_status=14)) == 4


@pytest.mark.parametrize("status", [None, 200])
def test_the_last_attempt_ends_as_its_exchange_does(
    request_: Request, status: int | None
) -> None:
    attempt = tried(request_, status)

    assert attempt_status(request_, attempt, Outcome(200, grpc_status=5)) == 5
    assert attempt_status(request_, attempt, Outcome(200, ClientGone())) == 1


def test_an_answer_that_is_not_the_exchanges_implies_a_status(
    request_: Request,
) -> None:
    first, last = tried(request_, 503), tried(request_, 404)
    outcome = Outcome(200, grpc_status=0)

    assert attempt_status(request_, first, outcome) == 14
    assert attempt_status(request_, last, outcome) == 12
