from __future__ import annotations

from proxy.downstream.listen import OVERLOADED
from proxy.transport.descriptors import OUT, nothing_unused


def test_who_keeps_nothing_open_has_nothing_to_give_up() -> None:
    assert not nothing_unused()
    assert OUT < OVERLOADED
