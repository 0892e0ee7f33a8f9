"""The keys of the full-screen `actors top`: what each does, for the program itself and for its help."""

from __future__ import annotations

from typing import Final, NamedTuple

from textual.binding import Binding

__all__ = ["KEYS", "SORTS", "Key", "bindings", "help_lines"]


class Key(NamedTuple):
    """One line of the help.

    Attributes:
        keys: as textual names them, with commas between.
        action: the method of the application, without ``action_``.
        shown: the keys as people read them.
        text: what they do.
    """

    keys: str
    action: str
    shown: str
    text: str


SORTS: Final = {
    "N": "name",
    "M": "mailbox",
    "R": "rate",
    "C": "cpu",
    "B": "memory",
    "H": "handling",
    "E": "restarts",
}
"""The order that each of these keys gives."""
KEYS: Final = (
    Key("down,j", "move(1)", "↓ j", "next row"),
    Key("up,k", "move(-1)", "↑ k", "row before"),
    Key("pagedown,ctrl+f,space", "leap(1)", "PgDn Space", "a page on"),
    Key("pageup,ctrl+b", "leap(-1)", "PgUp", "a page back"),
    Key("home,g", "edge(0)", "Home g", "first row"),
    Key("end,G", "edge(1)", "End G", "last row"),
    Key("tab", "page(1)", "Tab", "next page: actors, nodes, listeners, pools, programs, handlers"),
    Key("shift+tab", "page(-1)", "Shift-Tab", "page before"),
    Key("enter", "open", "Enter", "details; in the tree, open or close a supervisor"),
    Key("s", "stack", "s", "stacks of a node, or of an actor's node"),
    Key("slash", "filter", "/", "show rows that contain a text; Esc shows all again"),
    Key("escape", "unfilter", "Esc", "show all rows again"),
    Key("greater_than_sign,right", "sort(1)", "> →", "sort by the next column"),
    Key("less_than_sign,left", "sort(-1)", "< ←", "sort by the column before"),
    *(Key(key, f"order('{order}')", key, f"sort by {order}") for key, order in SORTS.items()),
    Key("t", "tree", "t", "supervision tree on or off"),
    Key("e", "events", "e", "events on or off"),
    Key("r", "change('restart')", "r", "restart an actor, a node or a program"),
    Key("l", "change('reload')", "l", "reload a group of nodes or a program"),
    Key("plus,equals_sign", "scale(1)", "+", "a node or an instance more"),
    Key("minus", "scale(-1)", "-", "a node or an instance less"),
    Key("x", "change('stop')", "x", "stop an actor, a node or a program"),
    Key("question_mark,f1", "help", "?", "this help"),
    Key("q", "leave", "q", "end"),
    Key("ctrl+c", "app.interrupt", "Ctrl-C", "end, with exit code 130"),
)


def bindings() -> list[Binding | tuple[str, str] | tuple[str, str, str]]:
    """Return the keys as textual binds them: each is done before the next one is looked at."""
    return [Binding(key.keys, key.action, key.text, show=False, priority=True) for key in KEYS]


def help_lines() -> list[str]:
    """Return the help."""
    width = max(len(key.shown) for key in KEYS)
    lines = [f"{key.shown:{width}}  {key.text}" for key in KEYS]
    return [*lines, "", "In details: s stack, r restart, x stop, Esc or q back."]
