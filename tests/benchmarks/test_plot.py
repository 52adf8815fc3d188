from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.plot import OURS, THEIRS, svg
from benchmarks.summary import Line, summarise
from tests.benchmarks.making import measured

RECTANGLE = "{http://www.w3.org/2000/svg}rect"


def bars(lines: list[Line]) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg(lines)).iter(RECTANGLE))


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    ours, theirs = bars([summarise(measured({"tulle": [20.0], "envoy": [10.0]}))])

    assert int(ours.attrib["width"]) == 2 * int(theirs.attrib["width"])
    assert (ours.attrib["fill"], theirs.attrib["fill"]) == (OURS, THEIRS)


def test_tulle_on_another_python_is_ours_too() -> None:
    _, other = bars([summarise(measured({"tulle": [2.0], "tulle 3.13.5": [1.0]}))])

    assert other.attrib["fill"] == OURS


def test_rows_of_tulle_alone_are_not_drawn() -> None:
    assert bars([summarise(measured({"0": [1.0], "1": [2.0]}))]) == []
