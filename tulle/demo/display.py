"""Where the demo's words and tables go: a terminal that is redrawn, or lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

import attrs
import click
from rich.console import Console, RenderableType
from rich.live import Live

from tulle.demo.figures import Figures
from tulle.demo.show import line, screen


@attrs.frozen
class View:
    """What there is to show at a moment."""

    seconds: float
    """Since the mesh was ready."""
    span: float
    """How many of them the edges' figures are of."""
    edges: Sequence[Figures]
    weights: Mapping[str, float]
    hints: Sequence[str]


class Display(Protocol):
    """Shows views while it is entered, and the last one after."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

    def tell(self, sentence: str) -> None: ...
    def show(self, view: View) -> None: ...
    def end(self, view: View) -> None: ...


@attrs.define(eq=False)
class Lines:
    """A line for each edge and view, for logs; the table once, at the end."""

    console: Console

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def tell(self, sentence: str) -> None:
        click.echo(sentence)

    def show(self, view: View) -> None:
        for edge in view.edges:
            click.echo(line(f"{view.seconds:.1f}s", edge, view.weights))

    def end(self, view: View) -> None:
        for edge in view.edges:
            click.echo(line("total", edge, view.weights))
        self.console.print(_all(view, self.console))


@attrs.define(eq=False)
class Board:
    """A table that changes in its place, and stays when it is over."""

    console: Console
    _live: Live = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # Redrawn when there is something to show, and by no thread of its own.
        self._live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tell(self, sentence: str) -> None:
        self.console.print(f" {sentence}", style="dim", highlight=False)

    def show(self, view: View) -> None:
        title = f"Tulle demo · {view.seconds:.0f} s · the last {view.span:.0f} s"
        self._live.update(self._draw(view, title), refresh=True)

    def end(self, view: View) -> None:
        self.console.print(_all(view, self.console))

    def _draw(self, view: View, title: str) -> RenderableType:
        return screen(view.edges, view.weights, title, self.console.width, view.hints)


def _all(view: View, console: Console) -> RenderableType:
    title = f"Tulle demo · all {view.span:.0f} s of it"
    return screen(view.edges, view.weights, title, console.width, view.hints)
