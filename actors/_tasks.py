"""The tasks an actor owns beside its messages: they live and die with the incarnation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ._loop import Loop, Task, Waiter

__all__ = ["ActorTasks"]


class ActorTasks:
    """A task group for one incarnation; a task that raises crashes its actor."""

    def __init__(self, loop: Loop, name: str, failed: Callable[[BaseException], None]) -> None:
        self._loop = loop
        self._name = name
        self._failed = failed
        self._running: dict[object, Task] = {}
        self._closed = False
        self._empty: Waiter | None = None
        self._late: Exception | None = None

    def __len__(self) -> int:
        return len(self._running)

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
        key = object()
        label = name or getattr(fn, "__qualname__", repr(fn))
        task = self._running[key] = self._loop.start(
            self._run, key, fn, args, name=f"{self._name}: {label}"
        )
        return task

    async def _run(
        self, key: object, fn: Callable[..., Coroutine[Any, Any, object]], args: tuple[Any, ...]
    ) -> None:
        try:
            await fn(*args)
        except Exception as error:  # noqa: BLE001 - the owner is told: it crashes the actor
            if not self._closed:
                self._failed(error)
            elif self._late is None:
                self._late = error
        finally:
            self._running.pop(key, None)
            if not self._running and self._empty is not None and not self._empty.done():
                self._empty.set_result(None)

    async def aclose(self) -> None:
        """Cancel what runs and wait until it has ended; raises the first error of those meanwhile."""
        self._closed = True
        if self._running:
            self._empty = self._loop.waiter()
            for task in list(self._running.values()):
                task.cancel()
            await self._empty
        if self._late is not None:
            raise self._late
