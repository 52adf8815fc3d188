from __future__ import annotations

from proxy.codec.h1.wire import WireError


def test_what_is_wrong_is_400_unless_said_otherwise() -> None:
    error = WireError("malformed Host")

    assert (str(error), error.status, error.method) == ("malformed Host", 400, b"")
    assert WireError("too long", 414).status == 414
