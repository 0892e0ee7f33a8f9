"""The tasks, timers and watches of an incarnation, made when it first uses one of them.

Most actors of a large system use none, and these were most of the memory of an idle actor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._actor.tasks import ActorTasks
from actors._actor.timers import Timers
from actors._actor.watches import Watches

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._actor.interfaces import CellInterface
    from actors._messaging.ref import Ref
    from actors.supervisors import Exit

__all__ = ["IncarnationResources"]


class IncarnationResources:
    """The tasks, timers and watches of one incarnation.

    Args:
        cell: what the incarnation is a run of.
        on_error: called with what a task raised.
        on_exit: called with the end of a watched actor.
    """

    __slots__ = ("tasks", "timers", "watches")

    def __init__(
        self,
        cell: CellInterface,
        on_error: Callable[[BaseException], None],
        on_exit: Callable[[Ref[Any], Exit], None],
    ) -> None:
        host = cell.host
        self.tasks = ActorTasks(host.loop, cell.ref.name, on_error)
        self.timers = Timers(host.loop, cell.ref.name, cell.cls, cell.deliver)
        self.watches = Watches(host, on_exit)

    def close(self) -> None:
        """End all timers and watches; tasks go on."""
        self.watches.clear()
        self.timers.close()
