"""The operations between the parent and its nodes that concern listeners; see `operations`."""

# mypy: disable-error-code="empty-body"
# Declarations: only their signatures are used.

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors._remoting.operation import Side, call as _call, fd_note as _fd_note, note as _note

if TYPE_CHECKING:
    from actors.routing import Listener

__all__ = [
    "add_bells",
    "attach_bindings",
    "attach_socket",
    "bind_keys",
    "connection_counts",
    "connection_results",
    "connections",
    "detach_socket",
    "drain_listener",
    "key_unlearned",
    "keys_bound",
    "listener_slots",
    "serve_listener",
    "served_enough",
    "socket_lost",
    "stop_server",
]

_PARENT: Final = Side.PARENT
_NODE: Final = Side.NODE

# -- what the parent serves ---------------------------------------------------------------------


@_note(_PARENT)
def connection_results(
    listener: str, acknowledged: list[int], refused: list[int], closed: list[int], /
) -> None:
    """Which connections the node has taken, has closed unread, and has served."""


@_note(_PARENT)
def connection_counts(listener: str, open_: int, total: int, /) -> None:
    """How many connections the node serves, and how many it has served in all."""


@_note(_PARENT)
def socket_lost(listener: str, /) -> None:
    """The node had no descriptor free for the socket that its server gets its work from."""


@_note(_PARENT)
def bind_keys(listener: str, number: int, digests: list[bytes], client: str, /) -> None:
    """Have connections with these sticky keys go to the node's slot; answered by `keys_bound`."""


@_note(_PARENT)
def key_unlearned(listener: str, /) -> None:
    """The node has sent a response with a new sticky key that was not bound in time."""


@_note(_PARENT)
def readiness(ready: bool, why: str, /) -> None:  # noqa: FBT001 - a wire field
    """The check of the node says from now on that it is *ready*, or that it is not."""


@_note(_PARENT)
def served_enough(count: int, /) -> None:
    """The node has served *count* requests, which is as many as it may."""


# -- what a node serves -------------------------------------------------------------------------


@_call(_NODE)
async def serve_listener(spec: Listener, /) -> None:
    """Start the node's server of a listener; return when it can take connections."""


@_call(_NODE)
async def become_ready() -> None:
    """Return when the check of the node's group says yes."""


@_call(_NODE)
async def drain_listener(listener: str, seconds: float, /) -> None:
    """Return when the node has no connection of a listener, or has cut them off after *seconds*."""


@_call(_NODE)
async def stop_server(listener: str, /) -> None:
    """End what serves a listener on the node; return when its application has shut down."""


@_fd_note(_NODE)
def connections(listener: str, numbers: list[int], /) -> None:
    """The descriptors are accepted connections to serve, with their numbers at the router."""


@_fd_note(_NODE)
def attach_socket(listener: str, limit: int | None, seat: int | None, /) -> None:
    """The descriptors are what the node's server gets its work from, *limit* at a time.

    *seat* is the node's on the scoreboard of those that accept in turn, if it does.
    """


@_fd_note(_NODE)
def add_bells(listener: str, seats: list[int], /) -> None:
    """The descriptors wake the nodes in these seats when it is their turn to accept."""


@_note(_NODE)
def detach_socket(listener: str, /) -> None:
    """Take nothing new from those sockets."""


@_note(_NODE)
def keys_bound(listener: str, number: int, /) -> None:
    """What the node asked for by `bind_keys` under that number is done."""


@_fd_note(_NODE)
def attach_bindings(listener: str, /) -> None:
    """The descriptor is the memory in which the parent says which slot has which sticky key."""


@_note(_NODE)
def listener_slots(listener: str, slot: int, live: list[int], every: list[int], /) -> None:
    """Which slots share a listener now: the node's own, those that serve, and all."""
