"""The tasks an actor owns beside its messages: they live and die with the incarnation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._messaging.turn import TURN

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actors._base.loop import Loop, Task, Waiter

__all__ = ["ActorTasks"]


class _ActorTask:
    """One task of an actor; cancelled before its first step, it is so at its first await.

    Asyncio would never enter what was cancelled so early, and nothing in it could clean up.
    """

    __slots__ = ("_begun", "_doomed", "task")

    def __init__(self) -> None:
        self.task: Task | None = None
        self._begun = self._doomed = False

    def begin(self) -> None:
        """Its first step is here."""
        self._begun = True
        if self._doomed and self.task is not None:
            self.task.cancel()

    def cancel(self) -> None:
        """End it early."""
        self._doomed = True
        if self._begun and self.task is not None:
            self.task.cancel()


class ActorTasks:
    """A task group for one incarnation; a task that raises crashes its actor."""

    def __init__(self, loop: Loop, name: str, failed: Callable[[BaseException], None]) -> None:
        self._loop = loop
        self._name = name
        self._failed = failed
        self._running: set[_ActorTask] = set()
        self._closed = False
        self._empty: Waiter | None = None
        self._late: BaseException | None = None

    def __len__(self) -> int:
        return len(self._running)

    @property
    def over(self) -> bool:
        """Whether nothing runs, and no error is left to be told."""
        return not self._running and self._late is None

    def start_soon(
        self, fn: Callable[..., Coroutine[Any, Any, object]], /, *args: Any, name: str = ""
    ) -> Task:
        """Run ``fn(*args)`` beside the actor's messages.

        Returns:
            The task, whose ``cancel()`` ends it early.

        Raises:
            RuntimeError: the actor has ended.
        """
        if self._closed:
            raise RuntimeError(f"{self._name} has ended: it starts no more tasks")
        owned = _ActorTask()
        label = name or getattr(fn, "__qualname__", repr(fn))
        owned.task = self._loop.start(self._run, owned, fn, args, name=f"{self._name}: {label}")
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
            # It may have been started while a message was handled, but is no part of that.
            TURN.set(turn.for_task())
        try:
            owned.begin()
            await fn(*args)
        except (KeyboardInterrupt, SystemExit) as error:
            self._failed(error)
            raise
        except BaseException as error:  # the owner is told: it crashes the actor
            if self._loop.cancelled_by(error):
                raise
            if not self._closed:
                self._failed(error)
            elif self._late is None:
                self._late = error
        finally:
            self._running.discard(owned)
            # Its task has how it ended, and that this frame: they would keep what it was given.
            owned.task = None
            if not self._running and self._empty is not None and not self._empty.done():
                self._empty.set_result(None)

    def cancel(self) -> None:
        """Cancel what runs, and start no more."""
        self._closed = True
        for task in list(self._running):
            task.cancel()

    async def aclose(self) -> None:
        """Cancel what runs and wait until it has ended; raises the first error of those meanwhile."""
        self.cancel()
        if self._running:
            self._empty = self._loop.waiter()
            await self._empty
        late, self._late = self._late, None
        if late is not None:
            raise late
