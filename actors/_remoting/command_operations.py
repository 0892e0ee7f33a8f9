"""The operations by which the parent hands commands for single actors on to the nodes that have them."""

# mypy: disable-error-code="empty-body"
# Declarations: only their signatures are used.

from __future__ import annotations

from typing import Any

from actors._remoting.operation import Side, call as _call, note as _note

__all__ = [
    "actor_state",
    "ask_actor",
    "close_items",
    "close_watch",
    "describe",
    "next_items",
    "next_watched",
    "watch_actor",
]


@_call(Side.NODE)
async def ask_actor(
    uid: int, pool: str, method: str, args: list[str], kwargs: dict[str, str], seconds: float, /
) -> list[str]:
    """Ask an actor, or a pool, with arguments as JSON; return a `Said`, and the JSON or text of the answer."""


@_call(Side.NODE)
async def next_items(stream: int, seconds: float, /) -> list[list[str]]:
    """Return the next items of a stream that `ask_actor` opened, each as `ask_actor` does; none at the end."""


@_note(Side.NODE)
def close_items(stream: int, /) -> None:
    """Close a stream that `ask_actor` opened."""


@_call(Side.NODE)
async def describe(
    target: str, args: list[str], kwargs: dict[str, str], options: dict[str, Any], /
) -> dict[str, Any]:
    """Import an actor class or a spec by its path; return what it is as data, to be started by the parent."""


@_call(Side.NODE)
async def actor_state(uid: int, seconds: float, /) -> list[str]:
    """Return what an actor's `on_inspect` returns, as `ask_actor` does."""


@_call(Side.NODE)
async def watch_actor(uid: int, rate: int, /) -> int:
    """Watch the messages of an actor, at most *rate* a second; return the number of the watch."""


@_call(Side.NODE)
async def next_watched(watch: int, /) -> list[Any]:
    """Return the next messages, at least one, each a `Watched`, and how many more there were."""


@_note(Side.NODE)
def close_watch(watch: int, /) -> None:
    """Stop watching."""
