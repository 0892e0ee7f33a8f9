"""The launcher: one long-lived thread that starts every process node.

A thread, because starting a process blocks for milliseconds that an event loop should not spend;
one, so that a burst of restarts does not become a burst of threads.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors._loop import Loop, Waiter

__all__ = ["Launch", "Launcher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One process to start; it inherits *fds* and writes its output to *output*."""

    module: str
    lifeline: int
    fds: tuple[int, ...]
    output: int
    env: Mapping[str, str]

    def argv(self) -> list[str]:
        """Return the command: this interpreter with its own flags."""
        # The same helper that multiprocessing uses to pass -O, -W, -X and friends on.
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001 - the only source
        return [sys.executable, *flags, "-m", self.module, str(self.lifeline)]


class Launcher:
    """Starts processes in its own thread; ends with `close`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._requests: queue.SimpleQueue[tuple[Launch, Waiter] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self, launch: Launch) -> subprocess.Popen[bytes]:
        """Start a process and return it.

        Raises:
            OSError: the system has no room for it.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="actors launcher")
            self._thread.start()
        waiter = self._loop.waiter()
        self._requests.put((launch, waiter))
        return await waiter  # type: ignore[no-any-return] # a waiter is untyped

    def close(self) -> None:
        """End the thread, after what it was asked for."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._requests.put(None)
            thread.join()

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            launch, waiter = request
            try:
                process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    launch.argv(),
                    stdin=subprocess.DEVNULL,
                    stdout=launch.output,
                    stderr=launch.output,
                    pass_fds=launch.fds,
                    env={**os.environ, **launch.env},
                    process_group=0,
                )
            except OSError as error:
                self._loop.call_threadsafe(_settle, waiter, None, error)
            else:
                self._loop.call_threadsafe(_settle, waiter, process, None)


def _settle(waiter: Waiter, process: Any, error: OSError | None) -> None:
    if waiter.done():
        if process is not None:  # whoever asked was cancelled: nobody will own it
            process.kill()
            process.wait()
    elif error is not None:
        waiter.set_exception(error)
    else:
        waiter.set_result(process)
