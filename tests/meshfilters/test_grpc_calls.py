from __future__ import annotations

import pytest

from meshfilters.errors import ClientGone, DeadlineExceeded, MeshError
from meshfilters.exchange import Direction
from meshfilters.grpc_calls import Calls, check_methods
from meshfilters.metrics import Metrics
from meshfilters.testing import Kit

CART = {"shop.Cart": frozenset({"Add", "Get"}), "shop.Ratings": frozenset[str]()}


def counted(
    kit: Kit,
    target: bytes,
    status: int | None = 200,
    error: MeshError | None = None,
    grpc_status: int | None = 0,
) -> None:
    """Have one call made and ended."""
    request = kit.ask(b"POST", target, destination="cart")
    Calls(kit.env, CART).watch(request)
    kit.end(request, status, error, grpc_status=grpc_status)


@pytest.mark.parametrize(
    ("direction", "side"), [("inbound", "server"), ("outbound", "client")]
)
def test_calls_are_counted_under_the_names_of_grpcs_libraries(
    direction: Direction, side: str
) -> None:
    kit = Kit(direction=direction)
    request = kit.ask(b"POST", b"/shop.Cart/Add", destination="cart")
    Calls(kit.env, CART).watch(request)

    begun = kit.counts(f"grpc_{side}_started_total")
    not_yet = kit.counts(f"grpc_{side}_handled_total")
    kit.advance(0.03)
    kit.end(request, grpc_status=5)

    assert begun == {("cart", "shop.Cart", "Add"): 1}
    assert not_yet == {}
    assert kit.counts(f"grpc_{side}_handled_total") == {
        ("cart", "shop.Cart", "Add", "NotFound"): 1
    }
    (seconds,) = kit.metrics.histograms.values()
    assert seconds.name == f"grpc_{side}_handling_seconds"
    assert seconds.values["cart", "shop.Cart", "Add"][-1] == 0.03


@pytest.mark.parametrize(
    ("target", "service", "method"),
    [
        (b"/shop.Cart/Get", "shop.Cart", "Get"),
        (b"/shop.Cart/Drop", "shop.Cart", "other"),
        (b"/shop.Ratings/Get", "shop.Ratings", "other"),
        (b"/shop.Cart/Get?x", "shop.Cart", "other"),
        (b"/Cart/Get", "other", "other"),
        (b"xshop.Cart/Get", "shop.Cart", "other"),
        (b"*", "other", "other"),
    ],
)
def test_what_is_not_listed_is_other(target: bytes, service: str, method: str) -> None:
    kit = Kit()
    counted(kit, target)

    assert kit.counts("grpc_client_handled_total") == {
        ("cart", service, method, "OK"): 1
    }


@pytest.mark.parametrize(
    ("status", "error", "grpc_status", "code"),
    [
        (200, None, 0, "OK"),
        (200, None, 1, "Canceled"),
        (200, None, 16, "Unauthenticated"),
        (200, None, None, "Unknown"),
        (503, None, None, "Unavailable"),
        (200, DeadlineExceeded(), 4, "DeadlineExceeded"),
        (None, ClientGone(), None, "Canceled"),
    ],
)
def test_every_call_has_a_code(
    status: int | None, error: MeshError | None, grpc_status: int | None, code: str
) -> None:
    kit = Kit()
    counted(kit, b"/shop.Cart/Add", status, error, grpc_status)

    assert kit.counts("grpc_client_handled_total") == {
        ("cart", "shop.Cart", "Add", code): 1
    }


@pytest.mark.parametrize(
    ("service", "method"),
    [
        ("shop/Cart", "Add"),
        ("", "Add"),
        ("shop.", "Add"),
        ("Cart", ""),
        ("Cart", "a/b"),
    ],
)
def test_names_that_cannot_be_are_refused(service: str, method: str) -> None:
    with pytest.raises(ValueError, match=r"no gRPC service|no method's name"):
        Metrics(grpc={service: frozenset({method})})


def test_names_that_can_be_are_taken() -> None:
    check_methods(None, None, CART)  # type: ignore[arg-type]  # attrs' place for it
