"""Columns of text as kubectl prints them: two spaces between, nothing cut, no colours.

On a terminal the last column, which holds sentences, wraps at words under itself; where too little room is
left for that, it goes below its row, and where not even the figures fit, each row becomes a paragraph. A pipe
gets one line per row.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

_GAP = "  "
_LEAST_TEXT_WIDTH = 28
_INDENT = 4


def find_width() -> int | None:
    """Columns of the terminal that is printed to; None for a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def format_columns(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    right: frozenset[str] = frozenset(),
) -> str:
    """The table, one line per row where `width` is None. `right`: headings of columns of figures."""
    table = [list(headings), *[list(row) for row in rows]]
    sizes = [max(len(row[place]) for row in table) for place in range(len(headings) - 1)]
    used = sum(sizes) + len(_GAP) * len(sizes)
    if width is not None and used > width:
        return "\n".join(_format_paragraph(headings, row, width) for row in rows)
    lines = []
    for number, row in enumerate(table):
        cells = [
            cell.rjust(size) if heading in right else cell.ljust(size)
            for heading, cell, size in zip(headings, row, sizes, strict=False)
        ]
        front, text = _GAP.join(cells), row[-1]
        if width is None or used + len(text) <= width:
            lines.append(f"{front}{_GAP}{text}".rstrip())
        elif width - used >= _LEAST_TEXT_WIDTH:
            first, *more = wrap(text, width - used)
            lines.append(f"{front}{_GAP}{first}".rstrip())
            lines += [" " * used + each for each in more]
        else:
            lines.append(front.rstrip())
            if number:  # a heading has nothing to say of its own
                lines += [" " * _INDENT + each for each in wrap(text, max(20, width - _INDENT))]
    return "\n".join(lines)


def _format_paragraph(headings: Sequence[str], row: Sequence[str], width: int) -> str:
    """One row in words: its first cell, then heading and cell of the others."""
    named = zip(headings[1:], row[1:], strict=True)
    cells = [f"{heading.strip()} {cell}".strip() for heading, cell in named if cell not in {"", "-"}]
    lines = [row[0].rstrip()]
    lines += [" " * _INDENT + each for each in wrap(", ".join(cells), max(20, width - _INDENT))]
    return "\n".join(lines)


def format_text(text: str, *, width: int | None = None, indent: int = 0) -> str:
    """A sentence, wrapped at words on a terminal, further lines indented."""
    if width is None or len(text) <= width:
        return text
    return "\n".join(
        textwrap.wrap(
            text,
            max(20, width),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most that width; a longer word stays whole."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
