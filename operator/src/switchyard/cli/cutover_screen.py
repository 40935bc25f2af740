"""A plan live on a terminal, in the room that there is."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.tree import Tree

from switchyard.cli.cutover_plan import Plan
from switchyard.cli.cutover_tree import build_tree


def find_screen() -> Console | None:
    """The terminal that is printed to; None for a file, a pipe, and one that can't move its cursor."""
    console = Console(highlight=False)
    return console if sys.stdout.isatty() and not console.is_dumb_terminal else None


class Screen:
    """Shows each look in place of the last; what stands at the end stays."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="ellipsis")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, plan: Plan, problem: str) -> None:
        """Draw the plan, gates in short where it would not fit."""
        self._live.update(fit_tree(plan, self._console, problem), refresh=True)


def fit_tree(plan: Plan, console: Console, note: str = "") -> Tree:
    """The tree, in short where the whole is higher than the terminal."""
    is_ascii = console.options.ascii_only
    whole = build_tree(plan, is_ascii=is_ascii, note=note)
    if len(console.render_lines(whole, pad=False)) < console.height:
        return whole
    return build_tree(plan, is_ascii=is_ascii, is_short=True, note=note)
