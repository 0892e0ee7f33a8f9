"""A list of which only the rows that are seen are drawn, and need be known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from actors.cli.top.layout import clip

__all__ = ["STYLES", "Line", "Rows"]

STYLES: Final[dict[str, Style]] = {
    "": Style(),
    "bad": Style(color="red"),
    "busy": Style(color="yellow"),
    "good": Style(color="green"),
    "dim": Style(dim=True),
    "bold": Style(bold=True),
    "cursor": Style(reverse=True),
}


class Line(NamedTuple):
    """One row.

    Attributes:
        key: by which it is known when the rows change.
        text: what is shown.
        tone: a name of `STYLES`.
    """

    key: str
    text: str
    tone: str = ""


class Rows(ScrollView, can_focus=False):
    """Shows rows, one of which is selected; it stays selected where the rows move, but for the first one.

    Attributes:
        cursor: the number of the selected row.
    """

    DEFAULT_CSS: ClassVar[str] = (
        "Rows { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }"
    )

    class Scrolled(Message):
        """Other rows are seen."""

    def __init__(self, *, selects: bool = True, id: str) -> None:  # noqa: A002 - textual's name for it
        super().__init__(id=id)
        self._selects = selects
        self._lines: Sequence[Line] = ()
        self._total = 0
        self.cursor: int = 0
        # Where the user has put it: there are fewer rows for a moment when a node does not answer.
        self._wanted = 0

    @property
    def selected(self) -> str | None:
        """The key of the selected row, None if there is none or it is not known yet."""
        return self._lines[self.cursor].key if self.cursor < len(self._lines) else None

    def show(self, lines: Sequence[Line], total: int | None = None) -> None:
        """Show these rows.

        Args:
            lines: the first rows.
            total: how many there are, if not all are known; the others are drawn as an ellipsis.
        """
        kept = self.selected if self.cursor and self.cursor == self._wanted else None
        self._lines = lines
        self._total = max(total or 0, len(lines))
        if kept is not None:
            found = next((number for number, line in enumerate(lines) if line.key == kept), None)
            self._wanted = self._wanted if found is None else found
        self.cursor = max(0, min(self._wanted, self._total - 1))
        self.virtual_size = Size(self.size.width, self._total)
        self._keep_in_view()
        self.refresh()

    def last_seen(self) -> int:
        """Return how many rows there are up to the last one that is seen."""
        return int(self.scroll_offset.y) + max(self.size.height, 1)

    def move_to(self, number: int) -> None:
        """Select another row, and scroll to it."""
        self.cursor = self._wanted = max(0, min(number, self._total - 1))
        if self._selects:
            self._keep_in_view()
        else:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        self.refresh()
        self.post_message(self.Scrolled())

    def move(self, step: int) -> None:
        """Select a row above or below."""
        self.move_to(self.cursor + step)

    def edge(self, last: int) -> None:
        """Select the first row, or the last one."""
        self.move_to(self._total - 1 if last else 0)

    def _keep_in_view(self) -> None:
        if self._selects and self._total:
            self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        """Return one line of the screen; textual calls it for those that are seen."""
        number = y + int(self.scroll_offset.y)
        width = self.size.width
        if number >= self._total:
            return Strip.blank(width)
        line = self._lines[number] if number < len(self._lines) else Line("", "…", "dim")
        style = STYLES[line.tone]
        if self._selects and number == self.cursor:
            style += STYLES["cursor"]
        return Strip([Segment(clip(line.text, width, cell_len), style)], width)
