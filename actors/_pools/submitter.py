"""A process that submits tasks, as the queue sees it, and why it is told that a task has lost its worker."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from actors._messaging.ref import Ref

__all__ = ["Loss", "Submitter"]


class Loss(enum.IntEnum):
    """Why a task has no worker any more."""

    DIED = 0
    """The worker died, and nobody asked for that."""
    BESIDE = 1
    """The worker was ended for another task that ran on it."""
    ASKED = 2
    """The worker was ended because this task was to end."""
    MEMORY = 3
    """The worker held too much memory."""
    NO_WORKER = 4
    """The task still waited, and no worker starts."""
    CYCLE = 5
    """The task still waited, and every worker runs what waits for a task of this pool."""
    NOT_BEGUN = 6
    """The worker ended before it had begun the task."""


class Submitter(Protocol):
    """A process that submits tasks; see `PoolClient`."""

    def place_given(
        self, pool: int, ticket: int, member: Ref[Any], functions: Ref[Any], number: int
    ) -> None:
        """Send the task to a worker: a message to *member*, a function to *functions*.

        With a *number* it goes into the worker's line; 0 is none.
        """

    def task_returned(self, pool: int, ticket: int, value: Any) -> None:
        """The worker of the task has ended, and before that had returned *value*, which may not have come."""

    def task_lost(self, pool: int, ticket: int, why: str, loss: Loss) -> None:
        """The worker of the task has ended."""

    def room_changed(self, pool: int, room: bool) -> None:  # noqa: FBT001 - a wire field
        """Whether the queue has room."""
