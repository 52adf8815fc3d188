from __future__ import annotations

from io import StringIO

import attrs
import pytest
from rich.console import Console

from tulle.demo.figures import Figures, Part
from tulle.demo.show import line, screen

ID = "spiffe://demo.tulle/ns/demo/sa/"
WEB = Part("web", 200.0, 1.0, 1.0, (5.0, 9.0, 12.0))
PARTS = (
    Part("api-v1", 1847.2, 0.902, 1.0, (3.0, 9.4, 117.4)),
    Part("api-v2", 200.0, 0.098, 0.697, (3.1, 9.9, 19.8)),
)
EDGES = (
    Figures(
        *("client → web", 2000.0, 1.0, 1.0, 0.0, (8.0, 25.3, 50.4), (WEB,)),
        *(f"{ID}client", f"{ID}web"),
    ),
    Figures(
        *("web → api", 2000.0, 0.967, 0.9999, 60.1, (4.4, 17.7, 135.9), PARTS),
        *(f"{ID}web", f"{ID}api"),
    ),
)
NOTHING = Figures(
    *("web → api", 0.0, None, None, 0.0, (None, None, None)),
    *((Part("api-v1", 0.0, None, None, (None,) * 3), PARTS[1]), "", ""),
)
WEIGHTS = {"api-v1": 0.9, "api-v2": 0.1}


def drawn(width: int, edges: tuple[Figures, ...] = EDGES) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(screen(edges, WEIGHTS, "Tulle demo", width, ["curl it"]))
    file = console.file
    assert isinstance(file, StringIO)
    return "\n".join(each.rstrip() for each in file.getvalue().splitlines())


def test_the_table_shows_everything_in_80_columns() -> None:
    assert drawn(80) == TABLE.strip("\n")


TABLE = """
Tulle demo

                       success    after   p50   p95   p99  the split as it fell
 edge           req/s   before  retries    ms    ms    ms  (and as wanted)
 ───────────────────────────────────────────────────────────────────────────────
 client → web  2000.0   100.0%   100.0%   8.0  25.3  50.4
 web → api     2000.0    96.7%    99.9%   4.4  17.7   136  60.1 retries/s
  ├ api-v1     1847.2   100.0%            3.0   9.4   117  ███████░ 90.2% (90%)
  └ api-v2      200.0    69.7%            3.1   9.9  19.8  █░░░░░░░ 9.8% (10%)

 mutual TLS      the client proved     the server (… is spiffe://demo.tulle)
 client → web    …/ns/demo/sa/client   …/ns/demo/sa/web
 web → api       …/ns/demo/sa/web      …/ns/demo/sa/api

 curl it
"""


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_nothing_is_cut_off(width: int) -> None:
    table = drawn(width)

    assert "…\n" not in table
    assert all(len(each) <= width for each in table.splitlines())
    assert "90.2% (90%)" in table
    assert "9.8% (10%)" in table


def test_a_wide_terminal_shows_whole_identities() -> None:
    assert f"{ID}client" in drawn(100)
    assert f"{ID}client" not in drawn(80)
    assert "…/ns/demo/sa/client" in drawn(80)


def test_what_is_not_known_is_a_dash() -> None:
    table = drawn(80, (NOTHING,))

    assert "None" not in table
    assert (
        " ├ api-v1        0.0        -              -     -     -  ░░░░░░░░ - (90%)"
        in table
    )


def test_success_that_rounds_to_all_of_it_but_is_not_is_no_100_percent() -> None:
    assert "100.0%" not in line("1s", attrs.evolve(EDGES[1], parts=()), {})


def test_a_line_says_everything_of_an_edge() -> None:
    assert line("3.0s", EDGES[1], WEIGHTS) == (
        "3.0s web->api rps=2000.0 success_before=96.7% success_after=99.9% "
        "retries_per_s=60.1 p50=4.4ms p95=17.7ms p99=136ms "
        "api-v1=90.2%/90.0% api-v2=9.8%/10.0% "
        f"client={ID}web server={ID}api"
    )


def test_a_line_of_an_edge_that_is_not_split_has_no_split() -> None:
    assert line("total", EDGES[0], WEIGHTS) == (
        "total client->web rps=2000.0 success_before=100.0% success_after=100.0% "
        "retries_per_s=0.0 p50=8.0ms p95=25.3ms p99=50.4ms "
        f"client={ID}client server={ID}web"
    )


def test_a_line_of_nothing_has_dashes() -> None:
    assert line("1.0s", NOTHING, {}) == (
        "1.0s web->api rps=0.0 success_before=- success_after=- retries_per_s=0.0 "
        "p50=- p95=- p99=- api-v1=-/- api-v2=9.8%/- client=- server=-"
    )
