"""Bytes go in and come out in order, whatever the pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.codec.h1.reader import Reader
from proxy.codec.h1.wire import WireError

STEPS = st.lists(
    st.one_of(st.binary(max_size=5), st.integers(min_value=0, max_value=7)), max_size=30
)


@given(STEPS)
def test_what_is_taken_is_what_was_fed(steps: list[bytes | int]) -> None:
    reader, fed, taken = Reader(), b"", b""
    for step in steps:
        if isinstance(step, bytes):
            reader.feed(step)
            fed += step
        else:
            taken += reader.take(step)

        assert len(reader) == len(fed) - len(taken)
        assert bool(reader) == (len(fed) > len(taken))

    assert taken + reader.take(len(reader)) == fed
    assert reader == Reader() or not reader


def test_what_is_taken_whole_is_not_copied() -> None:
    data = b"x" * 100_000
    reader = Reader()
    reader.feed(data)

    assert reader.take(200_000) is data
    assert not reader


def test_what_was_skipped_to_its_end_is_let_go() -> None:
    reader = Reader(b"abc")

    reader.skip(3)

    assert (reader.data, reader.start) == (b"", 0)


def test_what_was_checked_counts_no_longer_when_the_bytes_have_moved() -> None:
    reader = Reader(b"abcdef", checked=5)

    reader.feed(b"g")
    assert reader.checked == 5
    reader.skip(2)
    reader.feed(b"h")
    assert (reader.data, reader.checked) == (b"cdefgh", 0)
    reader.take(6)
    reader.checked = 4
    reader.feed(b"i")
    assert reader.checked == 0


def test_an_error_says_what_a_client_is_told() -> None:
    error = WireError("too long", 414)

    assert (str(error), error.status, error.method) == ("too long", 414, b"")
    assert WireError("bad").status == 400
