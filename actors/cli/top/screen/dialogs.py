"""What opens over the lists of the full-screen `actors top`: details, questions, and the help."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from actors.cli._failure import CommandFailed
from actors.cli.top.changes import Change
from actors.cli.top.layout import wrapped
from actors.cli.top.screen.rows import Line, Rows

__all__ = ["Detail", "Question"]

Answer = Callable[[], Awaitable[list[str]]]


class Detail(ModalScreen[None]):
    """Lines about one thing, asked for again and again.

    Args:
        title: of what.
        answer: returns the lines.
        every: seconds after which it is asked again; 0 is never.
        restart: what the key for it asks, None if that is nothing.
        stop: the same.
        stack: what that key opens.
    """

    DEFAULT_CSS: ClassVar[str] = "Detail { background: ansi_default; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,left,backspace", "close", show=False, priority=True),
        Binding("down,j", "move(1)", show=False, priority=True),
        Binding("up,k", "move(-1)", show=False, priority=True),
        Binding("pagedown,space", "leap(1)", show=False, priority=True),
        Binding("pageup", "leap(-1)", show=False, priority=True),
        Binding("home,g", "edge(0)", show=False, priority=True),
        Binding("end,G", "edge(1)", show=False, priority=True),
        Binding("s", "stack", show=False, priority=True),
        Binding("r", "change('restart')", show=False, priority=True),
        Binding("x", "change('stop')", show=False, priority=True),
        Binding("ctrl+c", "app.interrupt", show=False, priority=True),
    ]

    def __init__(
        self,
        title: str,
        answer: Answer,
        *,
        every: float = 0.0,
        changes: Mapping[str, Callable[[], None]] | None = None,
        stack: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._title = title
        self._answer = answer
        self._every = every
        self._changes = changes or {}
        self._stack = stack
        self._lines: list[str] = []

    def compose(self) -> ComposeResult:
        """Return what it is made of."""
        keys = ["Esc back", *(["s stack"] if self._stack else [])]
        keys += [
            f"{key} {verb}"
            for key, verb in (("r", "restart"), ("x", "stop"))
            if verb in self._changes
        ]
        yield Static(self._title, id="detail-title", markup=False)
        yield Rows(selects=False, id="detail-rows")
        yield Static("  ".join(keys), id="detail-keys", markup=False)

    def on_mount(self) -> None:
        """Begin to ask."""
        self._show(["asking…"])
        self.run_worker(self._ask(), exclusive=True)

    async def _ask(self) -> None:
        while True:
            try:
                lines = await self._answer()
            except CommandFailed as error:
                lines = str(error).splitlines()
            self._show(lines)
            if not self._every:
                return
            await asyncio.sleep(self._every)

    def _show(self, lines: list[str]) -> None:
        self._lines = lines
        width = max(1, self.size.width - 1)
        parts = [part for line in lines for part in wrapped(line, width, cell_len)]
        shown = [Line(str(number), part) for number, part in enumerate(parts)]
        self.query_one("#detail-rows", Rows).show(shown)

    def on_resize(self) -> None:
        """The terminal has another size."""
        self._show(self._lines)

    def action_close(self) -> None:
        """Go back."""
        self.dismiss()

    def action_move(self, step: int) -> None:
        """Scroll."""
        self.query_one("#detail-rows", Rows).scroll_relative(y=step, animate=False)

    def action_leap(self, step: int) -> None:
        """Scroll by a page."""
        rows = self.query_one("#detail-rows", Rows)
        rows.scroll_relative(y=step * max(1, rows.size.height - 1), animate=False)

    def action_edge(self, last: int) -> None:
        """Scroll to the beginning, or to the end."""
        rows = self.query_one("#detail-rows", Rows)
        rows.scroll_to(y=rows.max_scroll_y if last else 0, animate=False)

    def action_stack(self) -> None:
        """Show the stacks of the node."""
        if self._stack is not None:
            self._stack()

    def action_change(self, verb: str) -> None:
        """Ask whether to change it."""
        with suppress(KeyError):
            self._changes[verb]()


class Question(ModalScreen[bool]):
    """Asks before something is changed; only ``y`` does it."""

    DEFAULT_CSS: ClassVar[str] = """
    Question { align: center middle; background: ansi_default; }
    Question Vertical { width: auto; max-width: 100%; height: auto; border: solid ansi_yellow; padding: 0 1; }
    Question Static { width: auto; max-width: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", show=False, priority=True),
        Binding("n,escape,enter,q", "answer(False)", show=False, priority=True),
        Binding("ctrl+c", "app.interrupt", show=False, priority=True),
    ]

    def __init__(self, change: Change) -> None:
        super().__init__()
        self._change = change

    def compose(self) -> ComposeResult:
        """Return what it is made of."""
        question = self._change.question
        with Vertical():
            yield Static(question, markup=False)
            yield Static("y yes   n no", markup=False)

    def action_answer(self, done: bool) -> None:  # noqa: FBT001 - a key gives it
        """End with the answer."""
        self.dismiss(done)
