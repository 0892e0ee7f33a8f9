"""The lists of the full-screen `actors top`: one look after another, and what the keys do with them.

Rule: only what is shown is asked for: as many rows as are seen, in their order, and of the tree what is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Static

from actors.cli._failure import WRONG, CommandFailed
from actors.cli.client.text import as_event, as_late, as_stacks
from actors.cli.top.changes import Change, change, scaling
from actors.cli.top.details import about_actor, about_row
from actors.cli.top.layout import clip, fit, row_text
from actors.cli.top.pages import PAGES, Facts, Page, in_order, matching, name_of, tone_of
from actors.cli.top.screen.dialogs import Detail, Question
from actors.cli.top.screen.headings import summary, tabs, titled
from actors.cli.top.screen.keys import bindings, help_lines
from actors.cli.top.screen.rows import Line, Rows
from actors.cli.top.source import Source
from actors.cli.top.tree import TITLES, Branch, Tree

__all__ = ["Lists"]

_QUICK: Final = 0.1
"""Seconds for which the system observes itself when a key asks for something else."""
_DIAL_AGAIN: Final = 0.5
"""Seconds."""
_EVENTS_EVERY: Final = 0.2
_MOST_ROWS: Final = 1000
"""The system returns no more actors."""
_FEWEST_ROWS: Final = 50
_CHANGE_TIMEOUT: Final = 3600.0
_HINTS: Final = "? help  Tab page  / filter  <> sort  t tree  e events  Enter details  q quit"
_IN_TREE: Final = (0, 1, 3, 2, 4)
"""The columns of the tree, those first that a narrow terminal shows."""
_ACTORS: Final = PAGES["Actors"]


class Lists(Screen[None]):
    """The pages, the tree and the events.

    Args:
        source: the system.
        interval: seconds between two looks.
        order: of the actors at first.
        look: the first look.

    Attributes:
        typing: whether keys are typed into the filter, by `type_key`.
    """

    CSS: ClassVar[str] = """
    Lists, Lists Static, Lists Rows { background: ansi_default; color: ansi_default; }
    Lists Static { height: 1; width: 100%; }
    #titles { text-style: bold; }
    #rows { height: 1fr; }
    #events { height: 35%; border-top: solid ansi_default; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]
    AUTO_FOCUS = ""

    def __init__(self, source: Source, *, interval: float, order: str, look: Facts) -> None:
        super().__init__()
        self._source = source
        self._interval = interval
        self._orders = dict.fromkeys(PAGES, "name") | {"Actors": order, "Handlers": "cpu"}
        self._page = _ACTORS
        self._look = {"listeners": [], "pools": [], **look}
        self.typing: bool = False
        self._match = ""
        self._tree: Tree | None = None
        self._shown: list[Facts | Branch] = []
        self._lost = ""
        self._note = ("", "")
        self._came = 0
        self._wanted = asyncio.Event()

    def compose(self) -> ComposeResult:
        """Return what it is made of, from top to bottom."""
        for name in ("summary", "tabs", "titles"):
            yield Static(id=name, markup=False)
        yield Rows(id="rows")
        yield Rows(selects=False, id="events")
        yield Static(id="status", markup=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self._draw()
        self._wanted.set()
        self.run_worker(self._look_on())
        self.run_worker(self._look_soon())
        self.run_worker(self._source.follow())
        self.set_interval(_EVENTS_EVERY, self._draw_events)

    def on_resize(self) -> None:
        """The terminal has another size."""
        self._draw()
        self._wanted.set()

    # -- looks ------------------------------------------------------------------------------------

    async def _look_on(self) -> None:
        while True:
            if not await self._look_once(self._interval):
                await asyncio.sleep(_DIAL_AGAIN)

    async def _look_soon(self) -> None:
        """Look at once where a key has asked for something else."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._look_once(min(_QUICK, self._interval))

    async def _look_once(self, seconds: float) -> bool:
        """Ask what is shown, and show it; return whether the system has answered."""
        wanted = self._wants()
        try:
            look = await self._ask(seconds, *wanted)
        except CommandFailed as error:
            if error.code == WRONG:
                self._say(str(error), "bad")
            else:
                self._lost = str(error).partition("\n")[0]
            self._draw()
            return False
        self._lost = ""
        if wanted == self._wants():
            self._look = look
            self._draw()
        return True

    def _wants(self) -> tuple[str, str, Page, Tree | None]:
        """Return what decides what is asked: the order and the text of actors, the page and the tree."""
        listed = self._page is _ACTORS and self._tree is None
        return self._orders["Actors"], self._match if listed else "", self._page, self._tree

    async def _ask(
        self, seconds: float, order: str, match: str, page: Page, tree: Tree | None
    ) -> Facts:
        rows = self.query_one("#rows", Rows)
        many = min(_MOST_ROWS, max(_FEWEST_ROWS, rows.last_seen() + rows.size.height))
        look: Facts = await self._source.ask(
            "top", wait=seconds, seconds=seconds, rows=many, by=order, match=match
        )
        serving: Facts = {"listeners": [], "pools": []}
        if page.kind in {"listener", "pool"}:
            serving = await self._source.ask("serving")
        if tree is not None:
            await self._ask_tree(tree)
        return {**look, **serving}

    async def _ask_tree(self, tree: Tree) -> None:
        for path, start, count in tree.questions():
            try:
                answer = await self._source.ask("children", path=path, start=start, count=count)
            except CommandFailed as error:
                if error.code != WRONG:
                    raise
                answer = None  # the supervisor is not there any more
            tree.take(path, start, answer)

    # -- what is shown ----------------------------------------------------------------------------

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        width = self.size.width
        self._show("summary", *summary(self._source.label, self._look, self._lost), width)
        self.query_one("#tabs", Static).update(
            tabs(self._page.title, width, self._match, tree=self._tree is not None)
        )
        self._draw_rows(width)
        self._draw_status(width)

    def _show(self, name: str, text: str, style: str, width: int) -> None:
        self.query_one(f"#{name}", Static).update(Text(clip(text, width, cell_len), style))

    def _draw_rows(self, width: int) -> None:
        rows = self.query_one("#rows", Rows)
        titles, cells, keys, tones, right, importance = self._content()
        if len(cells) > rows.size.height:
            width -= 1  # the scroll bar
        placed = fit(titles, cells, importance, width, cell_len)
        lines = [
            Line(key, row_text(row, placed, right, cell_len), "dim" if self._lost else tone)
            for key, row, tone in zip(keys, cells, tones, strict=True)
        ]
        self._show("titles", row_text(titles, placed, right, cell_len), "bold", self.size.width)
        total = None
        if self._page is _ACTORS and self._tree is None:
            total = min(self._look["matching"], _MOST_ROWS)
        rows.show(lines, total)

    def _content(self) -> Any:
        """Return titles, cells, keys and tones of the rows, and which columns are figures and important."""
        if self._tree is not None:
            branches = self._tree.rows(self._match)
            self._shown = list(branches)
            tree = self._tree
            tones = ["" if one.facts.get("state") in _WELL else "bad" for one in branches]
            keys = [one.path for one in branches]
            return TITLES, list(map(tree.cells, branches)), keys, tones, frozenset({2}), _IN_TREE
        page, order = self._page, self._orders[self._page.title]
        found = in_order(page, page.rows(self._look), order)
        if page is not _ACTORS:
            found = matching(found, self._match)
        self._shown = list(found)
        keys = [f"{name_of(one)}\0{one.get('node', '')}" for one in found]
        tones = [tone_of(page.kind, one) for one in found]
        titles = titled(page, order)
        return titles, list(map(page.cells, found)), keys, tones, page.right, page.importance

    def _draw_status(self, width: int) -> None:
        text, style = self._note
        if self.typing:
            text = f"/{self._match}▏ Enter keeps it, Esc shows all rows"
        elif not text:
            text = f"Esc shows all rows  {_HINTS}" if self._match else _HINTS
        self._show("status", text, style or "dim", width)

    def _say(self, text: str, style: str = "") -> None:
        self._note = (text, {"bad": "bold red"}.get(style, style))
        if self.is_mounted:
            self._draw_status(self.size.width)

    def _draw_events(self) -> None:
        events = self.query_one("#events", Rows)
        if not events.display or self._came == self._source.came:
            return
        self._came = self._source.came
        lines = [Line(str(number), as_event(one)) for number, one in enumerate(self._source.events)]
        events.show(lines)
        events.edge(1)

    # -- moving -----------------------------------------------------------------------------------

    @property
    def _rows(self) -> Rows:
        return self.query_one("#rows", Rows)

    def on_rows_scrolled(self) -> None:
        """Ask for rows that are seen now and were not asked for."""
        if self._tree is None and self._rows.last_seen() > len(self._shown):
            self._wanted.set()

    def action_move(self, step: int) -> None:
        """Select the next row, or the one before."""
        self._say("")
        self._rows.move(step)

    def action_leap(self, step: int) -> None:
        """Select the row a page further, or before."""
        self._rows.move(step * max(1, self._rows.size.height - 1))

    def action_edge(self, last: int) -> None:
        """Select the first row, or the last one."""
        self._rows.edge(last)

    def action_page(self, step: int) -> None:
        """Show the next page, or the one before."""
        titles = list(PAGES)
        number = (titles.index(self._page.title) + step) % len(titles)
        self._page, self._tree = PAGES[titles[number]], None
        self._changed(first=True)

    def action_sort(self, step: int) -> None:
        """Sort by the next column, or the one before."""
        orders = list(self._page.orders)
        number = (orders.index(self._orders[self._page.title]) + step) % len(orders)
        self.action_order(orders[number])

    def action_order(self, order: str) -> None:
        """Sort by a column."""
        if self._tree is not None or order not in self._page.orders:
            listed = "the tree" if self._tree is not None else self._page.title
            self._say(f"{listed} cannot be sorted by {order}", "bad")
            return
        self._orders[self._page.title] = order
        self._say(f"sorted by {order}")
        self._changed(first=True)

    def action_tree(self) -> None:
        """Show the supervision tree in place of the actors, or the actors again."""
        self._page = _ACTORS
        self._tree = Tree() if self._tree is None else None
        self._changed(first=True)

    def action_events(self) -> None:
        """Show the events, or hide them."""
        events = self.query_one("#events", Rows)
        events.display = not events.display
        self._came = -1
        self.call_after_refresh(self._draw_events)

    def _changed(self, *, first: bool = False) -> None:
        """Something else is to be shown: what is known of it now, the rest when it is here."""
        if first:
            self._rows.edge(0)
        self._draw()
        self._wanted.set()

    # -- the filter -------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Let the user type what rows contain: the keys that follow are for `type_key`."""
        self.typing = True
        self._say("")

    def type_key(self, key: str, character: str | None) -> None:
        """Take a key that is typed into the filter; the rows follow at once.

        Args:
            key: as textual names it.
            character: what it types; None if nothing.
        """
        if key == "enter":
            self.typing = False
            self._say("")
        elif key == "escape":
            self.action_unfilter()
        elif key == "backspace":
            self._filter(self._match[:-1])
        elif character is not None and character.isprintable():
            self._filter(self._match + character)

    def _filter(self, match: str) -> None:
        self._match = match
        self._changed(first=True)

    def action_unfilter(self) -> None:
        """Show all rows again."""
        self.typing = False
        self._say("")
        if self._match:
            self._filter("")

    # -- one of them ------------------------------------------------------------------------------

    def _selected(self) -> tuple[str, str, Facts] | None:
        """Return kind, name and facts of the selected row; None if there is none, or not yet."""
        number = self._rows.cursor
        if number >= len(self._shown):
            return None
        one = self._shown[number]
        if isinstance(one, Branch):
            return one.kind, str(one.facts.get("name", "")), one.facts
        return self._page.kind, name_of(one), one

    def action_open(self) -> None:
        """Show the details of the selected row; in the tree, open or close a supervisor."""
        selected = self._selected()
        if selected is None:
            return
        kind, name, facts = selected
        branch = self._shown[self._rows.cursor]
        if self._tree is not None and isinstance(branch, Branch) and kind in {"supervisor", "more"}:
            if self._tree.toggle(branch):
                self._wanted.set()
            self._draw()
            return
        answer = self._answer(kind, name, facts)
        if answer is None:
            self._say(f"nothing more is known of a {kind}")
            return
        verbs = {verb: change(verb, kind, name) for verb in ("restart", "stop")}
        changes = {
            verb: partial(self._confirm, asked)
            for verb, asked in verbs.items()
            if isinstance(asked, Change)
        }
        node = _node_of(kind, name, facts)
        stack = partial(self._show_stack, node) if node else None
        title = f"{kind} {name}"
        self.app.push_screen(
            Detail(title, answer, every=max(_QUICK, self._interval), changes=changes, stack=stack)
        )

    def _answer(self, kind: str, name: str, facts: Facts) -> Callable[[], Any] | None:
        """Return what tells the details."""
        if kind == "actor":
            return partial(self._about_actor, name, facts["node"])
        if kind in {page.kind for page in PAGES.values()}:
            return partial(self._about_row, kind, name)
        return None

    async def _about_actor(self, name: str, node: str) -> list[str]:
        return about_actor(await self._source.ask("queued", name=name, node=node))

    async def _about_row(self, kind: str, name: str) -> list[str]:
        page = next(page for page in PAGES.values() if page.kind == kind)
        found = [one for one in page.rows(self._look) if name_of(one) == name]
        return about_row(kind, found[0], self._look) if found else ["it is not there any more"]

    def action_stack(self) -> None:
        """Show the stacks of a node, or of the node of an actor."""
        selected = self._selected()
        node = "" if selected is None else _node_of(*selected)
        if node:
            self._show_stack(node)
        else:
            self._say("stacks are those of nodes and of actors on them", "bad")

    def _show_stack(self, node: str) -> None:
        async def answer() -> list[str]:
            return as_stacks(await self._source.ask("stack", node=node)).splitlines()

        self.app.push_screen(Detail(f"stacks of {node}", answer))

    def action_change(self, verb: str) -> None:
        """Restart, reload or stop what is selected, once it is confirmed."""
        selected = self._selected()
        if selected is not None:
            self._propose(change(verb, *selected[:2]))

    def action_scale(self, step: int) -> None:
        """Have a node or an instance more or less, once it is confirmed."""
        selected = self._selected()
        if selected is not None:
            self._propose(scaling(step, *selected[:2], self._look))

    def _propose(self, asked: Change | str) -> None:
        if isinstance(asked, Change):
            self._confirm(asked)
        else:
            self._say(asked, "bad")

    def _confirm(self, asked: Change) -> None:
        def answered(yes: bool | None) -> None:  # noqa: FBT001 - textual calls it
            if yes:
                self.run_worker(self._carry_out(asked))
            else:
                self._say(f"{asked.what}: not done")

        self.app.push_screen(Question(asked), answered)

    async def _carry_out(self, asked: Change) -> None:
        self._say(f"{asked.what}…")
        try:
            done = await self._source.ask(asked.operation, wait=_CHANGE_TIMEOUT, **asked.arguments)
        except CommandFailed as error:
            self._say(f"{asked.what}: {str(error).partition(chr(10))[0]}", "bad")
            return
        late = isinstance(done, dict) and done.get("late")
        self._say(
            f"{asked.what}: {' '.join(as_late(done).split())}" if late else f"{asked.what}: done"
        )
        self._wanted.set()

    # -- the rest ---------------------------------------------------------------------------------

    def action_help(self) -> None:
        """Show what the keys do."""

        async def answer() -> list[str]:
            return help_lines()

        self.app.push_screen(Detail("keys", answer))

    def action_leave(self) -> None:
        """End."""
        self.app.exit()


_WELL: Final[Sequence[object]] = ("RUNNING", "READY", None)
"""The states of which nothing is to be said; None is that of a row for more."""


def _node_of(kind: str, name: str, facts: Facts) -> str:
    """Return the node whose stacks are shown; "" if there is none."""
    if kind == "node":
        return name
    return str(facts.get("node") or "") if kind == "actor" else ""
