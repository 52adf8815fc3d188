from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from tulle.demo.display import Board, Lines, View
from tulle.demo.figures import Figures, Part

PART = Part("web", 1.0, 1.0, 1.0, (1.0, 2.0, 3.0))
EDGE = Figures("client → web", 200.0, 1.0, 1.0, 0.0, (1.0, 2.0, 3.0), (PART,), "c", "s")
VIEW = View(7.2, 5.0, [EDGE], {}, ["a hint"])


def terminal() -> Console:
    return Console(file=StringIO(), width=80, height=30, force_terminal=True)


def text(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_lines_are_printed_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines(Console(file=StringIO())) as lines:
        lines.tell("starting")
        lines.show(VIEW)

    starting, line = capsys.readouterr().out.splitlines()
    assert starting == "starting"
    assert line.startswith("7.2s client->web rps=200.0 ")


def test_lines_end_with_totals_and_the_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console(file=StringIO(), width=80)
    Lines(console).end(VIEW)

    assert capsys.readouterr().out.startswith("total client->web ")
    assert "Tulle demo · all 5 s of it" in text(console)
    assert "\x1b" not in text(console)


def test_a_board_is_drawn_where_it_was_before() -> None:
    console = terminal()
    with Board(console) as board:
        board.tell("starting")
        board.show(VIEW)
        first = len(text(console))
        board.show(VIEW)

    assert "starting" in text(console)
    assert "Tulle demo · 7 s · the last 5 s" in text(console)
    assert "a hint" in text(console)
    assert "\x1b[1A" in text(console)[first:]


def test_a_board_gives_the_cursor_back_when_it_is_interrupted() -> None:
    console = terminal()
    with pytest.raises(KeyboardInterrupt), Board(console):
        raise KeyboardInterrupt

    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert text(console).rindex(shown) > text(console).rindex(hidden)


def test_a_board_leaves_the_table_of_all_of_it() -> None:
    console = terminal()
    with Board(console) as board:
        board.show(VIEW)
    board.end(VIEW)

    assert "all 5 s of it" in text(console)
