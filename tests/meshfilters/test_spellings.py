from __future__ import annotations

import pytest

from meshfilters.headers import FRAMING
from meshfilters.spellings import Spellings, check_patterns


@pytest.mark.parametrize(
    "name", [b"x-real-ip", b"X-Real-IP", b"x_real_ip", b"X.REAL_IP", b"x-real~ip"]
)
def test_a_name_matches_in_every_spelling(name: bytes) -> None:
    assert name in Spellings(("X-Real-Ip",))


@pytest.mark.parametrize("name", [b"l5d-", b"L5D_DST_Override", b"l5d-client-id"])
def test_the_start_of_a_name_matches_in_every_spelling(name: bytes) -> None:
    assert name in Spellings(("l5d-*",))


@pytest.mark.parametrize("name", [b"x-real", b"x-real-ip2", b"xl5d-client-id", b""])
def test_other_names_do_not_match(name: bytes) -> None:
    assert name not in Spellings(("x-real-ip", "l5d-*"))


def test_names_found_harmless_do_not_hide_a_match_beside_them() -> None:
    spellings = Spellings(("forwarded",))

    assert not spellings.has_any({b"host": b"", b"accept": b""})
    assert spellings.has_any({b"host": b"", b"forwarded": b""})
    assert spellings.has_any({b"forwarded": b""})
    assert not spellings.has_any({b"host": b""})


def test_a_client_that_sends_ever_new_names_fills_no_memory() -> None:
    spellings = Spellings(("forwarded",))
    for number in range(10_000):
        assert not spellings.has_any({b"x-%d" % number: b""})
    assert not spellings.has_any({b"x" * 10_000: b""})

    assert len(spellings._harmless) <= 1024
    assert max(map(len, spellings._harmless)) <= 64


@pytest.mark.parametrize("pattern", ["", "*", "x y", "a*b", "*a", "caf\u00e9", "x_y"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a header name"):
        check_patterns(None, None, (pattern,))  # type: ignore[arg-type]  # unused


@pytest.mark.parametrize("pattern", [*sorted(FRAMING), "ho*", "Content-*"])
def test_a_pattern_that_would_strip_what_requests_need_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="which requests need"):
        check_patterns(None, None, (pattern,))  # type: ignore[arg-type]  # unused


def test_other_patterns_are_fine() -> None:
    check_patterns(None, None, ("x-user", "l5d-*"))  # type: ignore[arg-type]  # unused
