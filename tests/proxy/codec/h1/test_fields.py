"""Field lines are taken apart to the last byte; what is one connection's stays there."""

from __future__ import annotations

import time

import pytest

from proxy.codec.h1.fields import (
    HOP_BY_HOP,
    Fields,
    Index,
    check_coding,
    connection_options,
    content_length,
    drop,
    drop_hop_by_hop,
    read_fields,
    replace,
)
from proxy.codec.h1.wire import HeadLimits, WireError
from proxy.config.model import Http


def read(*lines: bytes, limits: HeadLimits | None = None) -> tuple[Fields, Index]:
    data = b"GET / HTTP/1.1\r\n" + b"".join(each + b"\r\n" for each in lines)
    return read_fields(data, 16, len(data), limits or Http())


def refusal(*lines: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        read(*lines)
    return caught.value


def names(fields: Fields) -> list[bytes]:
    return [name for name, _ in fields]


def test_order_and_spelling_are_kept_and_the_index_has_the_last_value() -> None:
    fields, index = read(b"B: 1", b"a:2", b"b:  3 ", b"C:", b"d: \t")

    assert fields == [
        (b"B", b"1"),
        (b"a", b"2"),
        (b"b", b"3"),
        (b"C", b""),
        (b"d", b""),
    ]
    assert index == {b"b": b"3", b"a": b"2", b"c": b"", b"d": b""}


def test_blanks_around_a_value_are_dropped_and_those_in_it_kept() -> None:
    fields, _ = read(b"A: \t x \t y \t ", b"B: z\t")

    assert fields == [(b"A", b"x \t y"), (b"B", b"z")]


@pytest.mark.parametrize(
    "line",
    [
        b"A : 1",
        b" A: 1",
        b"A: 1\r\n folded",
        b"A: 1\n",
        b"A: a\rb",
        b"A: a\x00b",
        b"A: a\x7f",
        b": 1",
        b"A",
        b"A\xe9: 1",
        b"A: 1\nB: 2",
        b"",
    ],
)
def test_what_is_no_field_is_refused(line: bytes) -> None:
    assert str(refusal(b"Host: a", line, b"Z: 1")) == "malformed header field"


def test_as_many_fields_as_the_limit_are_let_through() -> None:
    lines = [b"A%d: 1" % number for number in range(8)]

    assert len(read(*lines, limits=Http(max_headers=8))[0]) == 8
    with pytest.raises(WireError, match="too many") as caught:
        read(*lines, limits=Http(max_headers=7))
    assert caught.value.status == 431


@pytest.mark.parametrize("name", [b"Content-Length", b"Host", b"Transfer-Encoding"])
def test_a_field_that_must_be_single_is(name: bytes) -> None:
    error = refusal(name + b": 1", b"X: y", name.upper() + b": 1")

    assert str(error) == f"more than one {name.decode().lower()}"


@pytest.mark.parametrize("name", [b"Content_Length", b"host", b"transfer_ENCODING"])
def test_framing_in_disguise_is_refused_and_other_underscores_are_not(
    name: bytes,
) -> None:
    read(b"x_y: 1", b"host: a_b")
    if b"_" in name:
        assert "underscore" in str(refusal(name + b": 1"))


@pytest.mark.parametrize(
    ("value", "length"), [(b"0", 0), (b"42", 42), (b"9" * 18, 10**18 - 1)]
)
def test_a_length_is_decimal(value: bytes, length: int) -> None:
    fields, index = read(b"Content-Length: " + value)

    assert content_length(fields, index) == length
    assert fields == [(b"Content-Length", value)]


def test_no_length_is_none() -> None:
    assert content_length(*read(b"A: 1")) is None


@pytest.mark.parametrize(
    "value", [b"", b"-1", b"+1", b"1,1", b"1 1", b"0x1", b"1.0", b"9" * 19, b"\xb2"]
)
def test_a_length_that_is_no_number_is_refused(value: bytes) -> None:
    with pytest.raises(WireError, match="malformed Content-Length"):
        content_length(*read(b"Content-Length: " + value))


def test_a_length_with_zeros_before_it_is_written_anew() -> None:
    fields, index = read(b"A: 1", b"Content-Length: 0010")

    assert content_length(fields, index) == 10
    assert fields[1] == (b"Content-Length", b"10")
    assert index[b"content-length"] == b"10"


def test_chunked_is_the_only_coding() -> None:
    check_coding(b"Chunked")


@pytest.mark.parametrize(
    ("coding", "status"),
    [
        (b"gzip, chunked", 501),
        (b"chunked, chunked", 501),
        (b"identity", 501),
        (b"xchunked", 501),
        (b"", 400),
        (b"chunked,", 400),
        (b"\x0bchunked", 400),
        (b"chunked;q=1", 400),
    ],
)
def test_another_coding_is_not_understood(coding: bytes, status: int) -> None:
    with pytest.raises(WireError) as caught:
        check_coding(coding)
    assert caught.value.status == status


def test_options_are_gathered_from_every_connection_field() -> None:
    assert connection_options(*read(b"A: 1")) == frozenset()
    assert connection_options(*read(b"Connection: Close , X")) == {b"close", b"x"}
    several = read(b"Connection: a,b", b"X: 1", b"connection: C")
    assert connection_options(*several) == {b"a", b"b", b"c"}


def dropped(*lines: bytes, keeps_upgrade: bool = False) -> tuple[Fields, Index]:
    fields, index = read(*lines)
    options = connection_options(fields, index)
    drop_hop_by_hop(fields, index, options, keeps_upgrade=keeps_upgrade)
    assert {name.lower() for name in names(fields)} == set(index)
    return fields, index


def test_what_is_one_connections_is_dropped() -> None:
    lines = [name.title() + b": x" for name in sorted(HOP_BY_HOP)]

    assert names(dropped(b"Host: a", *lines, b"Z: 1")[0]) == [b"Host", b"Z"]


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_one_alone_is_dropped_from_its_place(name: bytes) -> None:
    fields, _ = dropped(b"A: 1", name + b": x", b"B: 2")

    assert names(fields) == [b"A", b"B"]


def test_so_is_what_connection_names_wherever_and_however_often_it_stands() -> None:
    fields, _ = dropped(b"X-Me: 1", b"A: 1", b"Connection: x-me, close", b"x-ME: 2")

    assert names(fields) == [b"A"]


def test_what_a_message_cannot_do_without_is_named_in_vain() -> None:
    kept = [b"Host: a", b"Content-Length: 1", b"Cookie: c", b"Authorization: d"]
    naming = b"Connection: host, content-length, cookie, authorization, , absent"

    assert names(dropped(*kept, naming)[0]) == [each.split(b":")[0] for each in kept]


def test_an_upgrade_is_kept_when_it_is_asked_for() -> None:
    lines = [b"Upgrade: websocket", b"Connection: Upgrade"]

    assert names(dropped(*lines, keeps_upgrade=True)[0]) == [b"Upgrade"]
    assert names(dropped(*lines)[0]) == []
    assert names(dropped(b"Upgrade: websocket", keeps_upgrade=True)[0]) == []
    only_named = dropped(b"A: 1", b"Connection: upgrade", keeps_upgrade=True)
    assert names(only_named[0]) == [b"A"]


@pytest.mark.parametrize(
    ("offer", "left"),
    [
        (b"h2c", None),
        (b"H2C , h2c", None),
        (b"h2c, websocket", b"websocket"),
        (b"foo/2,h2c , websocket", b"foo/2, websocket"),
        (b"", None),
    ],
)
def test_h2c_is_never_offered_on(offer: bytes, left: bytes | None) -> None:
    fields, index = dropped(
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: " + offer,
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        keeps_upgrade=True,
    )

    assert index.get(b"upgrade") == left
    assert fields == ([] if left is None else [(b"Upgrade", left)])


def test_every_field_of_a_name_is_dropped() -> None:
    fields, index = read(b"A: 1", b"b: 2", b"a: 3")

    drop(fields, index, [b"a", b"absent"])

    assert (fields, index) == ([(b"b", b"2")], {b"b": b"2"})


def test_dropping_nothing_changes_nothing() -> None:
    fields, index = read(b"A: 1")

    drop(fields, index, [])
    drop(fields, index, [b"b"])

    assert (fields, index) == ([(b"A", b"1")], {b"a": b"1"})


def test_a_field_is_replaced_where_it_stands() -> None:
    fields, index = read(b"A: 1", b"B: 2", b"C: 3")

    replace(fields, index, b"b", b"x")

    assert fields == [(b"A", b"1"), (b"B", b"x"), (b"C", b"3")]
    assert index[b"b"] == b"x"


BLANKS = b" \t" * 30_000


def test_a_line_of_blanks_costs_no_square_of_them() -> None:
    begun = time.process_time()
    error = refusal(b"X:" + BLANKS + b"\x01")
    fields, index = read(b"Connection: a" + BLANKS + b"b, c")
    options = connection_options(fields, index)

    assert str(error) == "malformed header field"
    assert options == {b"a" + BLANKS + b"b", b"c"}
    # A millisecond; it was 20 seconds.
    assert time.process_time() - begun < 1
