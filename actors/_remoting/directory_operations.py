"""The operations of address books of keyed actors, declared as those in `operations`."""

# mypy: disable-error-code="empty-body"
# Declarations: only their signatures are used.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._remoting.operation import Side, call as _call, note as _note

if TYPE_CHECKING:
    from actors._messaging.ref import Ref
    from actors._remoting.operations import Chain

__all__: list[str] = []

_PARENT: Final = Side.PARENT
_NODE: Final = Side.NODE

# -- what the parent serves: address books of keyed actors ---------------------------------------


@_call(_PARENT)
async def start_keyed(item: dict[str, Any], chain: Chain = (), /) -> list[Any]:
    """Start the book that *item* describes; return what its address is made of."""


@_call(_PARENT)
async def keyed(name: str, /) -> list[Any] | None:
    """Return what the address of the book of that name is made of."""


@_call(_PARENT)
async def find_keyed(book: int, key: Any, ended: int, chain: Chain = (), /) -> Ref[Any]:
    """Return the actor of *key*, started if there is none; not the one numbered *ended*, but the next."""


@_call(_PARENT)
async def stop_keyed(book: int, key: Any, grace: float | None, chain: Chain = (), /) -> bool:
    """Stop the actor of *key*; return whether there was one."""


@_call(_PARENT)
async def keyed_keys(book: int, /) -> list[Any]:
    """Return the keys whose actors live."""


@_call(_PARENT)
async def has_keyed(book: int, key: Any, /) -> bool:
    """Return whether the actor of *key* lives."""


@_call(_PARENT)
async def count_keyed(book: int, /) -> int:
    """Return how many actors of a book live."""


@_note(_PARENT)
def keyed_idle(book: int, uid: int, /) -> None:
    """An actor of the node has had nothing to do for its idle time."""


# -- what a node serves: address books of keyed actors ---------------------------------------------


@_note(_NODE)
def watch_idle(book: int, uid: int, seconds: float, /) -> None:
    """Report an actor whenever it has had nothing to do for *seconds*."""


@_call(_NODE)
async def stop_if_idle(uid: int, /) -> bool:
    """Stop an actor if it has nothing to do at this moment; return whether it stops, or has ended."""


@_call(_NODE)
async def recall_keyed(book: int, key: Any, uid: int, idle: bool, /) -> bool:  # noqa: FBT001 - a wire field
    """Give the address of a keyed actor back, unless it is *idle* and in use; return whether that is done."""


@_note(_NODE)
def keyed_gone(book: int, key: Any, uid: int, /) -> None:
    """A keyed actor has ended."""


@_note(_NODE)
def keyed_ended(book: int, why: str, /) -> None:
    """An address book is over."""


# -- what the parent serves: groups ----------------------------------------------------------------


@_note(_PARENT)
def group_joined(group: str, ref: Ref[Any], meta: Any, /) -> None:
    """An actor of the node has joined a group, or says something else of itself."""


@_note(_PARENT)
def groups_left(groups: list[str], ref: Ref[Any], /) -> None:
    """An actor of the node has left groups."""


@_call(_PARENT)
async def group_members(group: str, /) -> list[Ref[Any]]:
    """Return the members of a group; what the node has reported before is done."""


@_note(_PARENT)
def watch_group(group: str, number: int, /) -> None:
    """Tell the node who is in a group, and every change, under a number of the node's own."""


@_note(_PARENT)
def unwatch_group(group: str, number: int, /) -> None:
    """Tell the node no more."""


# -- what a node serves: groups --------------------------------------------------------------------


@_note(_NODE)
def group_changes(group: str, number: int, changes: list[list[Any]], complete: bool, /) -> None:  # noqa: FBT001 - a wire field
    """Members have joined or left; *complete* when the node knows all with them."""
