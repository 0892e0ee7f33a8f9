"""The task in which one system lives, from its start to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio

from actors._base.errors import ActorsError, SystemStopped
from actors._base.run_loop import open_own_loop
from actors._system.control.admin import AdminServices
from actors._system.control.report import Reports
from actors._system.control.server import serve_until_stop
from actors._system.coordinator import Coordinator
from actors._system.own_task import OwnTask
from actors._system.running_systems import enter_context, on_this_loop
from actors._system.system_access import DirectAccess
from actors.supervisors import shown

if TYPE_CHECKING:
    from actors._system.topology import Topology
    from actors.supervisors import Exit

__all__ = ["SystemTask"]

_NOT_CLOSED: Final = (
    "the event loop ended while the system ran; it is stopped now: "
    "`await system.aclose()` before the end, or use `async with actors.System()`"
)


class SystemTask(OwnTask):
    """Starts a coordinator, waits for the request to stop it, and stops it.

    Args:
        system: the `System` that it belongs to.
        topology: what it starts with.
        local: whether this process has a node of its own.
        control: the name under which a control socket is opened, "" for none; None opens none.

    Attributes:
        coordinator: once there is one.
    """

    def __init__(
        self, system: Any, topology: Topology, *, local: bool, control: str | None = None
    ) -> None:
        super().__init__(system)
        self._topology = topology
        self._local = local
        self._control = control
        self.coordinator: Coordinator | None = None

    def kill(self) -> None:
        """Stop the system, and wait for no actor and no node: they are killed."""
        self.begin_stop()
        if self.coordinator is not None:
            self.coordinator.tree.kill()

    def _root_ended(self, end: Exit) -> None:
        """The top supervisor has ended: by `stop`, or because its budget was exceeded."""
        assert self.coordinator is not None
        if end.abnormal and not self.coordinator.stopping:
            self.failure = end.error or ActorsError(str(end))
            self.end()

    def _not_closed(self) -> None:
        if self.coordinator is not None and self._ready.is_set():
            self.coordinator.event("system_not_closed", {"warning": _NOT_CLOSED})

    def _at_exit(self) -> None:
        """The interpreter ends, and the loop stands still: run it once more, or kill without it."""
        coordinator = self.coordinator
        assert coordinator is not None
        if not coordinator.loop.run_again(self._end_with_loop):
            coordinator.abandon()

    async def _end_with_loop(self) -> None:
        self._loop_ends()
        await self._ended.wait()

    async def _live(self) -> None:
        async with open_own_loop() as (loop, tasks):
            coordinator = self.coordinator = Coordinator(
                self._topology, loop, tasks, end=self.end, local=self._local
            )
            coordinator.admin = AdminServices(coordinator, self._topology.dashboard)
            coordinator.admin.register()
            coordinator.reports = Reports(coordinator)
            self.loop = loop
            coordinator.host.system = self.place.system
            self._made(DirectAccess(coordinator))
            enter_context(self.place)
            with on_this_loop(self.place.system, loop, self._at_exit):
                try:
                    await self._serve(coordinator)
                finally:
                    try:
                        with anyio.CancelScope(shield=True):
                            await coordinator.stop()
                    finally:
                        tasks.cancel_scope.cancel()

    async def _serve(self, coordinator: Coordinator) -> None:
        """Start everything, and wait for the request to stop it."""
        try:
            with self._starting:
                await coordinator.start(self._root_ended)
                if self._control is not None:
                    await serve_until_stop(coordinator, self._control)
        except Exception as error:  # noqa: BLE001 - raised in the task that called `start`
            self._start_error = self.failure = error
            return
        if self._starting.cancelled_caught:
            self._start_error = SystemStopped("the system was told to stop before it was ready")
            return
        self._ready.set()
        await self._stop_asked.wait()
        if self.failure is not None and coordinator.ends_process:
            with anyio.CancelScope(shield=True):
                await coordinator.reports.write(shown(self.failure))
