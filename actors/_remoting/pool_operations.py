"""The operations of pools, declared as those in `operations`."""

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

# -- what the parent serves: the queues of pools -----------------------------------------------


@_call(_PARENT)
async def pool(name: str, chain: Chain = (), /) -> list[Any] | None:
    """Return what the address of the pool of that name is made of; "" is the default pool."""


@_call(_PARENT)
async def start_pool(item: dict[str, Any], chain: Chain = (), /) -> list[Any]:
    """Start the pool that *item* describes; return what its address is made of."""


@_note(_PARENT)
def task_queued(
    pool: int,
    ticket: int,
    priority: int,
    again: bool,  # noqa: FBT001 - a wire field
    asked_by: Chain,
    in_line: bool,  # noqa: FBT001 - as above
    /,
) -> None:
    """A task of the node waits for a worker; *again* before all others of its priority.

    *asked_by* are the actors, and functions on workers, that wait for it. *in_line* says that a worker may have
    it behind others.
    """


@_note(_PARENT)
def task_withdrawn(pool: int, ticket: int, /) -> None:
    """A task of the node waits no more."""


@_note(_PARENT)
def task_done(pool: int, ticket: int, failed: bool, renew: str, /) -> None:  # noqa: FBT001 - a wire field
    """A task of the node is over; *renew* says why its worker is not to go on, or nothing."""


@_note(_PARENT)
def task_undelivered(pool: int, ticket: int, priority: int, /) -> None:
    """A task of the node could not be sent to its worker."""


@_note(_PARENT)
def task_given_back(pool: int, ticket: int, priority: int, /) -> None:
    """The worker of a task of the node has not begun it, and will not."""


@_note(_PARENT)
def task_broken(pool: int, ticket: int, /) -> None:
    """The node's link to the worker of a task has ended."""


@_note(_PARENT)
def task_overdue(pool: int, ticket: int, why: str, /) -> None:
    """A task of the node was to end and has not: its worker is to be ended."""


@_call(_PARENT)
async def pool_members(pool: int, /) -> list[Ref[Any]]:
    """Return the members of a pool by slot."""


@_call(_PARENT)
async def pool_stats(pool: int, /) -> Any:
    """Return the figures of a pool, a `PoolStats`."""


@_call(_PARENT)
async def stop_pool(pool: int, drain: bool, chain: Chain = (), /) -> None:  # noqa: FBT001 - a wire field
    """Stop a pool for good, after its tasks if *drain*; return when its workers have ended."""


@_call(_PARENT)
async def wait_pool(pool: int, chain: Chain = (), /) -> str:
    """Return why a pool has ended, when it has."""


@_call(_PARENT)
async def resize_pool(pool: int, size: int, /) -> int:
    """Start or stop workers of a pool; return how many there are then."""


# -- what nodes serve: what becomes of the tasks that they have submitted ----------------------


@_note(_NODE)
def place_given(
    pool: int, ticket: int, member: Ref[Any], functions: Ref[Any], number: int, /
) -> None:
    """A task of the node has a worker: send it there, with its *number* in the worker's line, if it has one."""


@_note(_NODE)
def task_returned(pool: int, ticket: int, value: Any, /) -> None:
    """The worker of a task has ended after it had returned *value*."""


@_note(_NODE)
def task_lost(pool: int, ticket: int, why: str, loss: int, /) -> None:
    """The worker of a task has ended; *loss* is a `Loss`."""


@_note(_NODE)
def pool_room(pool: int, room: bool, /) -> None:  # noqa: FBT001 - a wire field
    """Whether the queue of a pool has room."""


@_note(_NODE)
def pool_draining(pool: int, why: str, /) -> None:
    """A pool takes no new tasks."""


@_note(_NODE)
def pool_ended(pool: int, why: str, /) -> None:
    """A pool is over."""
