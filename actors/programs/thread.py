"""The thread in which a system starts programs and reads /proc, which would block its loop.

One thread, so that a burst of restarts is no burst of threads.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from actors._base.errors import SystemStopped
from actors._base.loop import Loop, Waiter

__all__ = ["ProgramThread"]

T = TypeVar("T")


class ProgramThread:
    """Runs functions one after another in its own thread, which the first one starts; ends with `close`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._requests: queue.SimpleQueue[tuple[Callable[[], Any], Any, Waiter] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(
        self, fn: Callable[..., T], /, *args: Any, undo: Callable[[T], object] | None = None
    ) -> T:
        """Return what ``fn(*args)`` returns there.

        Args:
            fn: the function.
            *args: its arguments.
            undo: called with the result, there or on the loop, if nobody waits for it any more.

        Raises:
            Exception: whatever *fn* raises.
            SystemStopped: it is closed.
        """
        if self._closed:
            raise SystemStopped("the system has stopped: it starts no more programs")
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name="actors programs")
            thread.start()
            self._thread = thread
        waiter = self._loop.waiter()
        self._requests.put((partial(fn, *args), undo, waiter))
        return await waiter  # type: ignore[no-any-return] # a waiter is untyped

    def close(self) -> None:
        """End the thread, after the requests that were made."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is not None:
            self._requests.put(None)
            thread.join()

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            act, undo, waiter = request
            result, failure = None, None
            try:
                result = act()
            except Exception as error:  # noqa: BLE001 - it is the answer to whoever asked
                failure = error
            try:
                self._loop.call_threadsafe(_settle, waiter, result, failure, undo)
            except RuntimeError:  # the loop has ended
                if failure is None and undo is not None:
                    undo(result)


def _settle(
    waiter: Waiter,
    result: Any,
    error: Exception | None,
    undo: Callable[[Any], object] | None,
) -> None:
    if waiter.done():
        if error is None and undo is not None:
            undo(result)
    elif error is not None:
        waiter.set_exception(error)
    else:
        waiter.set_result(result)
