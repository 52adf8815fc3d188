"""A peer that is missing: a test less on a machine, and a fault where all must be there."""

from __future__ import annotations

import pytest

from tests.processes.programs import PEERS_ARE, needed, needed_module


def ask(kind: str) -> None:
    if kind == "program":
        needed("no-such-program-anywhere")
    else:
        needed_module("no_such_module_anywhere")


@pytest.mark.parametrize("kind", ["program", "module"])
def test_what_needs_a_missing_peer_is_skipped(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PEERS_ARE, raising=False)

    with pytest.raises(pytest.skip.Exception, match="needs no"):
        ask(kind)


@pytest.mark.parametrize("kind", ["program", "module"])
def test_it_fails_where_no_peer_may_be_missing(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PEERS_ARE, "required")

    with pytest.raises(pytest.fail.Exception, match="needs no"):
        ask(kind)
