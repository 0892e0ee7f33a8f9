"""A task that belongs to no caller: a system lives in one, or the connection to one, from start to end.

`start`, `close` and `wait` are called from any task of the event loop, and nothing that cancels a caller
cancels it. When the event loop ends first, it ends inside that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint

from actors._base.errors import ActorsError, SystemStopped
from actors._base.run_loop import start_alone
from actors._messaging.turn import TURN
from actors._system.running_systems import RunningSystem
from actors.supervisors import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Block, Loop
    from actors._system.system_access import SystemAccess

__all__ = ["OwnTask"]

_OTHER_LOOP: Final = (
    "this System runs on another event loop than this code: use `system.blocking(ref)` from here (tests: give "
    "the fixture and the test the same loop_scope)"
)


class OwnTask:
    """Starts something, waits for the request to stop it, and stops it; what that is, is in `_live`.

    Args:
        system: the `System` that it belongs to.

    Attributes:
        loop: once it runs.
        exit: how it ended; None until then.
        failure: what it ended by, unless it was asked to.
        place: what the contexts that it was started in know of it.
        check_process: raises in a process that has no part in it.
    """

    def __init__(self, system: Any) -> None:
        self.place = RunningSystem(system)
        self.check_process: Callable[[], None] = _here
        self.loop: Loop | None = None
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

    async def start(self, made: Callable[[SystemAccess], None]) -> None:
        """Start it; return when it is ready.

        Args:
            made: called with the way to the system before anything is started.

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
        """Have the calling task cancelled when it fails or is told to stop, until `leave`."""
        assert self.loop is not None
        self._block = self.loop.block()
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

    def check_usable(self, *, in_any_thread: bool) -> None:
        """Refuse a call that cannot be done from here, or not any more.

        Raises:
            SystemStopped: it has ended.
            ActorsError: it runs on another loop, or in another process.
        """
        self.check_process()
        if self.exit is not None:
            raise self.stopped() from self.failure
        if self.loop is not None and not in_any_thread and self.loop.elsewhere():
            raise ActorsError(_OTHER_LOOP)

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
        """Stop it, and wait for nothing."""
        self.begin_stop()

    def end(self) -> None:
        """End it: by the end of the block that holds it, if there is one."""
        block = self._held()
        if block is None:
            self.begin_stop()
        else:
            block.cancel()

    def _loop_ends(self) -> None:
        block = self._held()
        if block is not None:
            # Its task is cancelled by the same end, and stops it.
            block.when_over(self._loop_ends)
        elif not self._stop_asked.is_set():
            self._not_closed()
            self.begin_stop()

    def _not_closed(self) -> None:
        """Take note that the event loop ends while it runs."""

    # -- in its task -------------------------------------------------------------------

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
        """Be there from the start to the request to stop, and leave nothing behind."""
        raise NotImplementedError

    def _fail(self, error: BaseException) -> None:
        """Take note of what ended the task of the system: an end of the program, or a fault of ours."""
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        self._stop_failed = self.failure is None and self._stop_asked.is_set()
        self.failure = self.failure or error
        if not self._ready.is_set():
            self._start_error = self._start_error or error


def _here() -> None:
    """Let every process pass."""
