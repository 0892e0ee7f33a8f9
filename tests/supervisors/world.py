"""A host with a task group, and what a test wants to see of the supervisors in it."""

from __future__ import annotations

from typing import Any

import anyio
from anyio.abc import TaskGroup

from actors.supervisors import (
    AutoShutdown,
    Budget,
    ChildSpec,
    DynamicSupervisor,
    Strategy,
    Supervisor,
)
from actors.supervisors.testing import Kit


class World:
    """A host with a task group, and what a test wants to see of the supervisors in it."""

    def __init__(self, tasks: TaskGroup) -> None:
        self.tasks = tasks
        self.kit = Kit(tasks)

    async def supervisor(
        self,
        *children: ChildSpec,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        budget: Budget = Budget(2, 3600),  # noqa: B008  frozen
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        **fields: Any,
    ) -> Supervisor:
        """Return a started supervisor called "sup"."""
        settings = {"tasks": self.tasks, "report": self.kit.log, "random": lambda: 0.0, **fields}
        made = Supervisor(
            "sup",
            children,
            strategy=strategy,
            budget=budget,
            auto_shutdown=auto_shutdown,
            **settings,
        )
        await made.start()
        return made

    async def dynamic(self, **fields: Any) -> DynamicSupervisor:
        """Return a started dynamic supervisor called "dyn"."""
        settings = {"tasks": self.tasks, "report": self.kit.log, "random": lambda: 0.0, **fields}
        made = DynamicSupervisor("dyn", **{"budget": Budget(2, 3600), **settings})
        await made.start()
        return made


async def settle() -> None:
    """Let everything happen that needs no time."""
    await anyio.wait_all_tasks_blocked()
