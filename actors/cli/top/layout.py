"""Fits rows of text into the width of a terminal. Pure: the caller measures how many cells a text has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

__all__ = ["Placed", "clip", "fit", "row_text", "wrapped"]

_GAP: Final = 2
"""Cells between two columns."""
_NARROWEST: Final = 8
"""Cells to which the first column shrinks before another one is left out."""
_WIDEST: Final = 40
"""Cells of a column, but of the last one that is shown."""

Measure = Callable[[str], int]


class Placed(NamedTuple):
    """A column that is shown: which one, and how many cells it has."""

    column: int
    width: int


def fit(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    importance: Sequence[int],
    room: int,
    measure: Measure,
) -> list[Placed]:
    """Choose the columns that are shown, and their widths; the first one always is.

    Args:
        titles: of the columns.
        rows: the cells of those rows that are shown.
        importance: the columns, the most important first.
        room: the width of all of them together.
        measure: returns how wide a text is.
    """
    widths = [
        min(_WIDEST, max(measure(title), *(measure(row[index]) for row in rows), 1))
        for index, title in enumerate(titles)
    ]
    shown: list[int] = []
    for index in importance:
        tried = sorted({*shown, index})
        needed = sum(min(widths[one], _NARROWEST) if one == 0 else widths[one] for one in tried)
        if shown and needed + _GAP * (len(tried) - 1) > room:
            continue
        shown = tried
    others = sum(widths[index] for index in shown if index) + _GAP * (len(shown) - 1)
    widths[0] = max(1, min(widths[0], room - others))
    return [Placed(index, widths[index]) for index in shown]


def clip(text: str, width: int, measure: Measure) -> str:
    """Return *text* in exactly *width* cells: filled up, or cut where an ellipsis says so."""
    wide = measure(text)
    if wide <= width:
        return text + " " * (width - wide)
    kept, used = "", 0
    for sign in text:
        cells = measure(sign)
        if used + cells > width - 1:
            break
        kept, used = kept + sign, used + cells
    return kept + "…" + " " * (width - used - 1) if width > 0 else ""


def wrapped(text: str, width: int, measure: Measure) -> list[str]:
    """Return *text* as lines of at most *width* cells; those behind the first one are indented."""
    indent = " " * min(4, max(0, width - 1))
    lines, line, used = [], "", 0
    for sign in text:
        cells = measure(sign)
        if used + cells > width and line.strip():
            lines.append(line)
            line, used = indent, len(indent)
        line, used = line + sign, used + cells
    return [*lines, line]


def row_text(
    cells: Sequence[str],
    placed: Sequence[Placed],
    right: frozenset[int],
    measure: Measure,
) -> str:
    """Return one row; the columns in *right* end at their right edge."""
    parts = []
    for index, width in placed:
        cell = cells[index]
        if index in right and measure(cell) <= width:
            parts.append(" " * (width - measure(cell)) + cell)
        else:
            parts.append(clip(cell, width, measure))
    return (" " * _GAP).join(parts)
