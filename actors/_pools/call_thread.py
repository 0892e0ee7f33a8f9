"""The thread in which a worker calls functions, one after another."""

from __future__ import annotations

import threading
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from actors._base.loop import Loop, Waiter

__all__ = ["AwaitedCall", "CallThread", "ThreadCall"]


class ThreadCall(Protocol):
    """What a thread calls."""

    def run(self) -> bool:
        """Make the call, in the thread; return whether there may be another."""


class CallThread:
    """A thread that makes one call after another."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[ThreadCall | None] = SimpleQueue()
        # Daemon: nobody can end a function that does not return, and the process must be able to end.
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, call: ThreadCall | None) -> None:
        """Have it make *call* next; None ends the thread."""
        self._calls.put(call)

    def _run(self) -> None:
        # While it waits for the next call it holds nothing of the last: neither result nor error.
        while self._made(self._calls.get()):
            pass

    @staticmethod
    def _made(call: ThreadCall | None) -> bool:
        return call is not None and call.run()


class AwaitedCall:
    """A call that a task of the loop waits for."""

    __slots__ = ("_loop", "args", "context", "error", "fn", "result", "returned", "waiter")

    def __init__(self, loop: Loop, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._loop = loop
        self.context: Context = copy_context()
        self.fn: Any = fn
        self.args: Any = args
        self.returned = False
        self.waiter: Waiter | None = None
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> bool:
        """As `ThreadCall.run`."""
        try:
            self.result = self.context.run(self.fn, *self.args)
        except BaseException as error:  # noqa: BLE001 - the submitter gets it
            self.error = error
        self.fn = self.args = None
        try:
            self._loop.call_threadsafe(self._settle)
        except RuntimeError:
            return False  # the loop has ended meanwhile
        return True

    def _settle(self) -> None:
        """Wake the task that waits; on the loop's thread."""
        self.returned = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
