"""A dynamic supervisor that starts with children, all of them together."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from anyio import CancelScope

from actors._base.run_loop import new_task_group
from actors.supervisors import Budget, DynamicSupervisor, Exit, NotFound, SupervisorStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import TaskGroup

    from actors.supervisors import ChildSpec, Reporter

__all__ = ["ConcurrentSupervisor"]


class ConcurrentSupervisor(DynamicSupervisor):
    """Starts, restarts and stops its children concurrently: a slow one does not delay the others."""

    def __init__(
        self,
        name: str,
        specs: Sequence[ChildSpec],
        *,
        tasks: TaskGroup,
        report: Reporter,
        budget: Budget | None = None,
    ) -> None:
        super().__init__(name, tasks=tasks, report=report, budget=budget or Budget())
        self._specs = specs

    async def start(self, ended: Callable[[Exit], None] | None = None) -> None:
        """Start all children together; the first that does not get ready fails the start."""
        started = False

        def end(how: Exit) -> None:
            if started and ended is not None:
                ended(how)

        await super().start(end)
        try:
            await self.add(self._specs)
        except BaseException:
            self.stop()
            with CancelScope(shield=True):
                await self.wait()
            raise
        started = True

    async def add(self, specs: Sequence[ChildSpec]) -> None:
        """Start children together; the first that does not get ready stops the others again."""
        ready: list[str] = []
        failures: list[Exception] = []

        async def start(spec: ChildSpec) -> None:
            try:
                await self.start_child(spec)
                ready.append(spec.name)
            except Exception as error:  # noqa: BLE001 - raised below, for all of them
                failures.append(error)
                together.cancel_scope.cancel()

        try:
            async with new_task_group() as together:
                for spec in specs:
                    together.start_soon(start, spec)
        finally:
            if len(ready) < len(specs):
                with CancelScope(shield=True):
                    await self.end([(name, None) for name in ready])
        if failures:
            raise failures[0]

    async def end(self, children: Sequence[tuple[str, float | None]]) -> None:
        """Stop children for good, together: name and seconds of grace; one that is gone is no error."""

        async def stop(name: str, grace: float | None) -> None:
            with suppress(NotFound, SupervisorStopped):
                await self.stop_child(name, grace=grace)

        async with new_task_group() as together:
            for name, grace in children:
                together.start_soon(stop, name, grace)
