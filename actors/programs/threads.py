"""The threads in which a system starts programs and reads /proc, which would block its loop.

A burst of requests has a few threads beside each other, as whoever starts a process waits for most of the time;
they end with the burst, but for the first.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from actors._base.errors import SystemStopped
from actors._base.loop import Loop, Waiter

__all__ = ["ProgramThreads"]

T = TypeVar("T")

_MOST: Final = 4


class ProgramThreads:
    """Runs functions in their order, in up to four threads, which the first ones start; ends with `close`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._requests: queue.SimpleQueue[tuple[Callable[[], Any], Any, Waiter] | None] = (
            queue.SimpleQueue()
        )
        self._first: threading.Thread | None = None
        self._more: list[threading.Thread] = []
        self._under_way = 0
        """Requests that are not answered."""
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
        waiter = self._loop.waiter()
        self._requests.put((partial(fn, *args), undo, waiter))
        self._under_way += 1
        self._have_threads()
        return await waiter  # type: ignore[no-any-return] # a waiter is untyped

    def close(self) -> None:
        """End the threads, after the requests that were made."""
        self._closed = True
        first, self._first = self._first, None
        if first is not None:
            self._requests.put(None)
            first.join()
        for thread in self._more:
            thread.join()
        self._more.clear()

    def _have_threads(self) -> None:
        if self._first is None:
            self._first = threading.Thread(target=self._serve, name="actors programs")
            self._first.start()
            return
        self._more = [thread for thread in self._more if thread.is_alive()]
        if len(self._more) + 1 < min(_MOST, self._under_way):
            thread = threading.Thread(target=self._help, name="actors programs")
            thread.start()
            self._more.append(thread)

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            self._answer(*request)

    def _help(self) -> None:
        while True:
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                return
            if request is None:  # that is for the first
                self._requests.put(None)
                return
            self._answer(*request)

    def _answer(self, act: Callable[[], Any], undo: Any, waiter: Waiter) -> None:
        result, failure = None, None
        try:
            result = act()
        except Exception as error:  # noqa: BLE001 - it is the answer to whoever asked
            failure = error
        try:
            self._loop.call_threadsafe(self._settle, waiter, result, failure, undo)
        except RuntimeError:  # the loop has ended
            if failure is None and undo is not None:
                undo(result)

    def _settle(
        self,
        waiter: Waiter,
        result: Any,
        error: Exception | None,
        undo: Callable[[Any], object] | None,
    ) -> None:
        self._under_way -= 1
        if waiter.done():
            if error is None and undo is not None:
                undo(result)
        elif error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(result)
