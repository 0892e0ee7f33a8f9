"""What an incarnation may own beside its turns: tasks, timers, watches; made for who needs one.

Most actors of a large system own none of it, and most of what an idle actor weighed was this.
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
        failed: told of what a task raised.
        hear: told of the end of somebody watched.
    """

    __slots__ = ("tasks", "timers", "watches")

    def __init__(
        self,
        cell: CellInterface,
        failed: Callable[[BaseException], None],
        hear: Callable[[Ref[Any], Exit], None],
    ) -> None:
        host = cell.host
        self.tasks = ActorTasks(host.loop, cell.ref.name, failed)
        self.timers = Timers(host.loop, cell.ref.name, cell.cls, cell.deliver)
        self.watches = Watches(host, hear)

    def part(self) -> None:
        """Hear and send nothing more; tasks go on."""
        self.watches.clear()
        self.timers.close()
