from __future__ import annotations

import pytest
import trio

from meshfilters.stream import HandshakeBroken


def test_a_broken_handshake_is_a_broken_stream_that_says_why() -> None:
    with pytest.raises(trio.BrokenResourceError, match="bad certificate") as caught:
        raise HandshakeBroken("certificate", "bad certificate")

    assert isinstance(caught.value, HandshakeBroken)
    assert caught.value.result == "certificate"
