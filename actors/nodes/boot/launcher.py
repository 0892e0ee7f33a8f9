"""The launcher: one long-lived thread that starts every process node.

A thread, because starting a process blocks for milliseconds that an event loop should not spend;
one, so that a burst of restarts does not become a burst of threads. It keeps the template, and
starts a process by exec where that cannot serve.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
from typing import TYPE_CHECKING, Any, Final

from actors.nodes.boot.fork_server import TEMPLATE_MODULE, ForkServer
from actors.nodes.boot.launch import (
    Launch,
    LaunchContext,
    Platform,
    Started,
    custom_site,
    exec_reason,
    python,
    start_by_exec,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop, Waiter

__all__ = ["Launcher"]

_NO_ROOM: Final = frozenset((errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE))
"""What an exec would be told as well."""
_TRIES: Final = 2
"""Templates that may die before a node is started without one."""


class Launcher:
    """Starts processes in its own thread; ends with `close`.

    Args:
        loop: the parent's.
        unusable: told, on the loop, why nodes are started by exec from here on, where a template was
            to be forked; once for each template that cannot be used.
    """

    def __init__(self, loop: Loop, unusable: Callable[[str], object]) -> None:
        self._loop = loop
        self._unusable = unusable
        self._requests: queue.SimpleQueue[tuple[Launch, Waiter] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._machine = Platform.here()
        self._template: ForkServer | None = None
        self._unfit: LaunchContext | None = None
        self._closing = threading.Event()
        self._outdated = threading.Event()

    async def start(self, launch: Launch) -> Started:
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

    def renew(self) -> None:
        """Start what comes from here on from files as they are now: the template has older ones."""
        self._outdated.set()

    def close(self) -> None:
        """End the thread and the template, after what they were asked for."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._closing.set()
        template = self._template
        if template is not None:
            template.kill()  # or the thread might wait for one that is still importing
        self._requests.put(None)
        thread.join()

    # -- in the thread -----------------------------------------------------------------------

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            launch, waiter = request
            try:
                started = self._start(launch)
            except OSError as error:
                self._loop.call_threadsafe(_settle, waiter, None, error)
            else:
                self._loop.call_threadsafe(_settle, waiter, started, None)
        self._drop()

    def _start(self, launch: Launch) -> Started:
        for attempt in range(1, _TRIES + 1):
            template = self._template_for(launch)
            if template is None:
                break
            started = self._fork(template, launch)
            if started is not None:
                return started
            self._drop()
            if attempt == _TRIES:
                # One may have been killed; two are no accident.
                self._give_up(
                    template.standing, f"{_TRIES} of them in a row ended instead of forking"
                )
        if self._closing.is_set():
            raise OSError(errno.ECANCELED, "the system is ending")
        return start_by_exec(launch)

    def _fork(self, template: ForkServer, launch: Launch) -> Started | None:
        try:
            return template.fork(launch)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            self._give_up(template.standing, f"it cannot fork: {error}")
            return None

    def _give_up(self, standing: LaunchContext, why: str) -> None:
        """Start nodes without a template as long as all is as it was for this one."""
        self._unfit = standing
        if not self._closing.is_set():
            self._loop.call_threadsafe(self._unusable, why)

    def _template_for(self, launch: Launch) -> ForkServer | None:
        """Return a template that is ready and as a new process would be, or nothing if exec is better."""
        if self._outdated.is_set():
            self._outdated.clear()
            self._unfit = None
            self._drop()
        if exec_reason(self._machine, launch.env, custom_site()):
            return None
        command = python(TEMPLATE_MODULE)
        environment = {**os.environ, **launch.common}
        try:
            standing = LaunchContext.now(command, environment)
            if self._template is not None and self._template.standing != standing:
                self._drop()
            if self._template is None and self._unfit != standing:
                self._template = ForkServer(standing, command, launch.module, environment)
                if self._closing.is_set() or not self._template.wait_ready():
                    self._give_up(standing, "it did not get ready")
                    self._drop()
        except OSError:
            return None  # the exec says what is missing, if it is missed there too
        return self._template

    def _drop(self) -> None:
        template, self._template = self._template, None
        if template is not None:
            template.close()


def _settle(waiter: Waiter, started: Any, error: OSError | None) -> None:
    if waiter.done():
        if started is not None:  # whoever asked was cancelled: nobody will own it
            started.kill()
            started.wait()
    elif error is not None:
        waiter.set_exception(error)
    else:
        waiter.set_result(started)
