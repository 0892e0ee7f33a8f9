"""The own thread of a blocking actor: one for each incarnation; it runs one call after the other.

Rule 1: the event loop never waits for the thread. The actor's task does; if it is cancelled, the call goes on.
Rule 2: nothing can end a call that runs. The thread ends behind it.
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from actors._messaging.blocking_ref import ThreadPortal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors._base.loop import Loop, Waiter
    from actors._messaging.context_propagation import Propagation

__all__ = ["ActorThread"]

_Call: TypeAlias = (
    "tuple[Waiter, Callable[..., Any], tuple[Any, ...], dict[str, Any], Mapping[str, Any]]"
)


class ActorThread:
    """Runs the constructor, the hooks and the handlers of one incarnation.

    Made in the actor's task. All calls run in one context, a copy of that task's; before each of them, the
    context variables that the system propagates get the values that they have in the task.

    Attributes:
        portal: runs coroutines in the loop while the thread waits for them.
        ident: the number of the thread.
        closed: whether the thread has ended.
        running: the function that it runs, "" for none.
    """

    def __init__(self, loop: Loop, name: str, propagation: Propagation | None) -> None:
        self.portal = ThreadPortal(loop, propagation)
        self.running = ""
        self.closed = False
        self._loop = loop
        self._propagation = propagation
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._left = 0
        self._change: Waiter | None = None
        self._context = copy_context()
        # A daemon thread: a call that never returns must not keep the whole process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self.ident = self._thread.ident

    @property
    def idle(self) -> bool:
        """Whether no call runs or is queued."""
        return not self._left

    async def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Return what ``fn(*args, **kwargs)`` returns in the thread, behind the calls before it."""
        waiter = self._loop.waiter()
        values = {} if self._propagation is None else self._propagation.current()
        self._left += 1
        self._calls.put((waiter, fn, args, kwargs, values))
        result, error = await waiter
        if error is None:
            return result
        try:
            raise error
        finally:
            del error  # its frames hold this one

    async def wait(self) -> None:
        """Wait until a call has returned, or the thread has ended."""
        self._change = self._loop.waiter()
        await self._change

    def end(self) -> None:
        """Have the thread end behind its calls."""
        self._calls.put(None)

    # -- in the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        self._context.run(self._take_calls)
        self._tell(self._ended)

    def _take_calls(self) -> None:
        while (call := self._calls.get()) is not None:
            waiter, fn, args, kwargs, values = call
            self.running = getattr(fn, "__qualname__", repr(fn))
            result = failed = None
            try:
                if self._propagation is not None:
                    self._propagation.apply(values)
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - raised in the actor's task
                failed = error
            self.running = ""
            self._tell(self._returned, waiter, (result, failed))
            # Nothing of it is kept while the thread waits for the next one.
            del call, waiter, fn, args, kwargs, values, result, failed

    def _tell(self, fn: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_threadsafe(fn, *args)
        except RuntimeError:
            self._calls.put(None)  # the loop has ended, and with it whoever waited

    # -- in the loop -----------------------------------------------------------------------

    def _returned(self, waiter: Waiter, outcome: tuple[Any, BaseException | None]) -> None:
        self._left -= 1
        if not waiter.done():
            waiter.set_result(outcome)

        self._changed()

    def _ended(self) -> None:
        self._thread.join()
        self.closed = True
        self._changed()

    def _changed(self) -> None:
        change, self._change = self._change, None
        if change is not None and not change.done():
            change.set_result(None)
