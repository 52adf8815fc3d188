"""Ports are read as people write them, and written as commands take them."""

from __future__ import annotations

import pytest

from proxy.redirect.ports import MULTIPORT, Ports, grouped, parse_ports, written


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("", ()),
        (" , ", ()),
        ("22", ((22, 22),)),
        ("1-65535", ((1, 65535),)),
        ("8000 - 8010, 22", ((22, 22), (8000, 8010))),
        ("1-5,3-9", ((1, 9),)),
        ("1-9,3-5", ((1, 9),)),
        ("5,4,6", ((4, 6),)),
        ("4,6", ((4, 4), (6, 6))),
        ("7,7", ((7, 7),)),
    ],
)
def test_ports_and_ranges_are_read_in_order(text: str, ports: Ports) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize("text", ["0", "65536", "http", "-5", "5-", "1:5", "1 2", "²"])
def test_what_is_no_port_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="expected ports from 1 to 65535"):
        parse_ports(text)


def test_a_range_that_ends_before_it_begins_is_told() -> None:
    with pytest.raises(ValueError, match="9-5 ends before it begins: expected 5-9"):
        parse_ports("9-5")


def test_ports_are_written_as_a_command_wants_them() -> None:
    ports = parse_ports("22,8000-8010")

    assert written(ports) == "22,8000-8010"
    assert written(ports, dash=":", comma=", ") == "22, 8000:8010"


def test_multiport_takes_fifteen_and_a_range_counts_twice() -> None:
    singles = parse_ports(",".join(map(str, range(2, 40, 2))))
    ranges = parse_ports("1-2,4-5,7-8,10-11,13-14,16-17,19-20,22-23,30")

    assert [len(group) for group in grouped(singles)] == [MULTIPORT, 4]
    assert [len(group) for group in grouped(ranges)] == [7, 2]
    assert list(grouped(())) == []
    assert sum(grouped(singles), ()) == singles
