"""The task in which one system lives, from its start to its end.

It belongs to no caller: `start`, `close` and `wait` are called from any task of the event loop, and nothing
that cancels a caller cancels the system. When the event loop ends first, the system ends inside that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint

from actors._base.errors import ActorsError, SystemStopped
from actors._base.run_loop import open_own_loop, start_alone
from actors._messaging.turn import TURN
from actors._system.control.server import serve_until_stop
from actors._system.coordinator import Coordinator
from actors._system.running_systems import RunningSystem, enter_context, on_this_loop
from actors.supervisors import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Block
    from actors._system.topology import Topology

__all__ = ["SystemTask"]

_NOT_CLOSED: Final = (
    "the event loop ended while the system ran; it is stopped now: "
    "`await system.aclose()` before the end, or use `async with actors.System()`"
)


class SystemTask:
    """Starts a coordinator, waits for the request to stop it, and stops it.

    Args:
        system: the `System` that it belongs to.
        topology: what it starts with.
        local: whether this process has a node of its own.
        control: the name under which a control socket is opened, "" for none; None opens none.

    Attributes:
        coordinator: once there is one.
        exit: how the system ended; None until then.
        failure: what it ended by, unless it was asked to.
        place: what the contexts that it was started in know of it.
    """

    def __init__(
        self, system: Any, topology: Topology, *, local: bool, control: str | None = None
    ) -> None:
        self.place = RunningSystem(system)
        self._topology = topology
        self._local = local
        self._control = control
        self.coordinator: Coordinator | None = None
        self.exit: Exit | None = None
        self.failure: BaseException | None = None
        self._block: Block | None = None
        self._stop_failed = False
        self._start_error: BaseException | None = None
        self._ready = anyio.Event()
        self._stop_asked = anyio.Event()
        self._ended = anyio.Event()
        self._starting = anyio.CancelScope()

    # -- what callers do, each in a task of their own -----------------------------------------------

    async def start(self, made: Callable[[Coordinator], None]) -> None:
        """Start the system; return when it is ready.

        Args:
            made: called with the coordinator before anything is started.

        Raises:
            BaseException: whatever the start failed by, or the caller's cancellation; nothing is left.
        """
        self._made = made
        start_alone(self._run, self._loop_ends, name="actors system")
        try:
            await self._ready.wait()
        except BaseException:
            self.begin_stop()
            await self._until_ended()
            raise
        error, self._start_error = self._start_error, None
        if error is not None:
            await self._until_ended()
            try:
                raise error
            finally:
                del error

    def hold(self) -> None:
        """Have the calling task cancelled when the system fails or is told to stop, until `leave`."""
        assert self.coordinator is not None
        self._block = self.coordinator.loop.block()
        if self.failure is not None:
            self._block.cancel()

    async def leave(self, error: BaseException | None) -> bool:
        """Stop the system at the end of the block that holds it, which ended by *error*.

        Returns:
            Whether *error* is only the cancellation of that block by the system.

        Raises:
            CancelledError: the calling task was cancelled meanwhile by others.
        """
        block = self._block
        assert block is not None
        self.begin_stop()
        try:
            await self._until_ended()
        except anyio.get_cancelled_exc_class() as cancelled:
            if not block.leave(cancelled):
                raise
            return isinstance(error, anyio.get_cancelled_exc_class())
        return block.leave(error)

    async def close(self) -> None:
        """Stop the system and wait until nothing of it is left.

        Raises:
            SystemStopped: a step of its end failed; the others were done.
        """
        self.begin_stop()
        block = self._held()
        if block is not None and not block.mine:
            block.cancel()
        await self._ended.wait()
        if self._stop_failed:
            raise self.stopped() from self.failure

    async def wait(self) -> Exit:
        """Wait for the end and return it."""
        await self._ended.wait()
        assert self.exit is not None
        return self.exit

    async def _until_ended(self) -> None:
        """Wait for the end, which comes within the deadlines of the system; raise a cancellation afterwards."""
        interrupted: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):
            while True:
                try:
                    await checkpoint()  # raises a cancellation that has been asked for
                    await self._ended.wait()
                    break
                except asyncio.CancelledError as error:  # asyncio's own passes every shield
                    interrupted = error
        if interrupted is not None:
            raise interrupted

    # -- requests ------------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Whether a block holds the system, which stops it at its end."""
        return self._held() is not None

    def stopped(self) -> SystemStopped:
        """Return the error of a call that came after the end."""
        if self.failure is None:
            return SystemStopped("the system has stopped")
        if self._stop_failed:
            return SystemStopped(f"the system has stopped, but not in order: {self.failure!r}")
        return SystemStopped(f"the system ended by itself: {self.failure}")

    def _held(self) -> Block | None:
        return None if self._block is None or self._block.over else self._block

    def begin_stop(self) -> None:
        """Stop the system, or its start."""
        self._stop_asked.set()
        self._starting.cancel()

    def kill(self) -> None:
        """Stop the system, and wait for no actor and no node: they are killed."""
        self.begin_stop()
        if self.coordinator is not None:
            self.coordinator.tree.kill()

    def end(self) -> None:
        """End the system: by the end of the block that holds it, if there is one."""
        block = self._held()
        if block is None:
            self.begin_stop()
        else:
            block.cancel()

    def _root_ended(self, end: Exit) -> None:
        """The top supervisor has ended: by `stop`, or because its budget was exceeded."""
        assert self.coordinator is not None
        if end.abnormal and not self.coordinator.stopping:
            self.failure = end.error or ActorsError(str(end))
            self.end()

    def _loop_ends(self) -> None:
        block = self._held()
        if block is not None:
            # Its task is cancelled by the same end, and stops the system.
            block.when_over(self._loop_ends)
        elif not self._stop_asked.is_set():
            if self.coordinator is not None and self._ready.is_set():
                self.coordinator.event("system_not_closed", {"warning": _NOT_CLOSED})
            self.begin_stop()

    def _at_exit(self) -> None:
        """The interpreter ends, and the loop stands still: run it once more, or kill without it."""
        coordinator = self.coordinator
        assert coordinator is not None
        if not coordinator.loop.run_again(self._end_with_loop):
            coordinator.abandon()

    async def _end_with_loop(self) -> None:
        self._loop_ends()
        await self._ended.wait()

    # -- in the task of the system -------------------------------------------------------------------

    async def _run(self) -> None:
        TURN.set(None)  # an actor that starts a system is not the one that asks for what it does
        try:
            await self._live()
        except BaseException as error:
            self._fail(error)
            on_asyncio = anyio.get_cancelled_exc_class() is asyncio.CancelledError
            if isinstance(error, (KeyboardInterrupt, SystemExit)) and on_asyncio:
                raise  # asyncio ends its loop by it
        finally:
            self.exit = Exit.SHUTDOWN if self.failure is None else Exit.CRASHED(self.failure)
            self.place.system = None
            self._ready.set()
            self._ended.set()

    async def _live(self) -> None:
        async with open_own_loop() as (loop, tasks):
            coordinator = self.coordinator = Coordinator(
                self._topology, loop, tasks, end=self.end, local=self._local
            )
            self._made(coordinator)
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

    def _fail(self, error: BaseException) -> None:
        """Take note of what ended the task of the system: an end of the program, or a fault of ours."""
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        self._stop_failed = self.failure is None and self._stop_asked.is_set()
        self.failure = self.failure or error
        if not self._ready.is_set():
            self._start_error = self._start_error or error
