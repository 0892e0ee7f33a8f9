"""The task group of an incarnation, `context.tasks`: its tasks run next to the message loop and end with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._messaging.turn import TURN

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actors._base.loop import Loop, Task, Waiter

__all__ = ["ActorTasks"]


class _ActorTask:
    """One task of an actor. One that is cancelled before its first step is cancelled at its first await.

    Asyncio never starts a task that is cancelled so early, so its clean-up would not run.
    """

    __slots__ = ("_cancelled", "_started", "task")

    def __init__(self) -> None:
        self.task: Task | None = None
        self._started = self._cancelled = False

    def on_start(self) -> None:
        """Note that its first step runs; cancel it if that was asked for before."""
        self._started = True
        if self._cancelled and self.task is not None:
            self.task.cancel()

    def cancel(self) -> None:
        """Cancel the task."""
        self._cancelled = True
        if self._started and self.task is not None:
            self.task.cancel()


class ActorTasks:
    """A task group for one incarnation; a task that raises crashes its actor.

    Attributes:
        name: that of the actor.
    """

    def __init__(self, loop: Loop, name: str, on_error: Callable[[BaseException], None]) -> None:
        self._loop = loop
        self.name = name
        self._on_error = on_error
        self._running: set[_ActorTask] = set()
        self._closed = False
        self._empty: Waiter | None = None
        self._closing_error: BaseException | None = None

    def __len__(self) -> int:
        return len(self._running)

    @property
    def closed(self) -> bool:
        """Whether nothing runs, and `aclose` has no error to raise."""
        return not self._running and self._closing_error is None

    def start_soon(
        self, fn: Callable[..., Coroutine[Any, Any, object]], /, *args: Any, name: str = ""
    ) -> Task:
        """Run ``fn(*args)`` in a task while the actor handles messages.

        Returns:
            The task, whose ``cancel()`` ends it early.

        Raises:
            RuntimeError: the actor has ended.
        """
        if self._closed:
            raise RuntimeError(f"{self.name} has ended: it starts no more tasks")
        owned = _ActorTask()
        label = name or getattr(fn, "__qualname__", repr(fn))
        owned.task = self._loop.start(self._run, owned, fn, args, name=f"{self.name}: {label}")
        self._running.add(owned)
        return owned

    async def _run(
        self,
        owned: _ActorTask,
        fn: Callable[..., Coroutine[Any, Any, object]],
        args: tuple[Any, ...],
    ) -> None:
        turn = TURN.get()
        if turn is not None:
            # The task inherits the turn in which it was started, but does not belong to it.
            TURN.set(turn.for_task())
        try:
            owned.on_start()
            await fn(*args)
        except (KeyboardInterrupt, SystemExit) as error:
            self._on_error(error)
            raise
        except BaseException as error:  # the incarnation crashes by it
            if self._loop.cancelled_by(error):
                raise
            if not self._closed:
                self._on_error(error)
            elif self._closing_error is None:
                self._closing_error = error
        finally:
            self._running.discard(owned)
            # The task object holds this frame by its exception: together they would keep the arguments.
            owned.task = None
            if not self._running and self._empty is not None and not self._empty.done():
                self._empty.set_result(None)

    def cancel(self) -> None:
        """Cancel all tasks; later ones are refused."""
        self._closed = True
        for task in list(self._running):
            task.cancel()

    async def aclose(self) -> None:
        """Cancel all tasks and wait for their ends; raise the first error that one of them raised then."""
        self.cancel()
        if self._running:
            self._empty = self._loop.waiter()
            await self._empty
        error, self._closing_error = self._closing_error, None
        if error is not None:
            raise error
