"""The launcher: one long-lived thread that starts the process nodes of one fork server.

A thread, because starting a process blocks for milliseconds; one thread, so that a burst of restarts
is no burst of threads. It runs the fork server, and starts a process by exec where that cannot be used.
"""

from __future__ import annotations

import errno
import queue
import threading
from typing import TYPE_CHECKING, Any, Final

from actors.nodes.boot.fork_server import FORK_SERVER_MODULE, ForkServer
from actors.nodes.boot.kept_fork_server import KEPT
from actors.nodes.boot.launch import (
    Launch,
    LaunchContext,
    Platform,
    Started,
    custom_site,
    exec_reason,
    own_environment,
    python,
    start_by_exec,
)
from actors.nodes.boot.preload import PreloadFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop, Waiter

__all__ = ["Launcher"]

_NO_ROOM: Final = frozenset((errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE))
"""Errors that an exec would fail with as well."""
_TRIES: Final = 2
"""Fork servers that may die before a node is started without one."""


class Launcher:
    """Starts processes in its own thread; ends with `close`.

    Args:
        loop: the parent's.
        tell: called on the loop with the kind and facts of an event: why nodes are started by exec from
            now on, and what in a fork server its nodes should not have.
    """

    def __init__(self, loop: Loop, tell: Callable[[str, dict[str, Any]], object]) -> None:
        self._loop = loop
        self._tell = tell
        self._requests: queue.SimpleQueue[tuple[Launch, Waiter] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._machine = Platform.here()
        self._fork_server: ForkServer | None = None
        self._unusable_context: LaunchContext | None = None
        self._told = ""
        self._closing = threading.Event()
        self._outdated = threading.Event()

    async def start(self, launch: Launch) -> Started:
        """Start a process and return it.

        Raises:
            Exception: whatever kept it from starting; mostly an `OSError`.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name="actors launcher")
            thread.start()
            self._thread = thread
        waiter = self._loop.waiter()
        self._requests.put((launch, waiter))
        return await waiter  # type: ignore[no-any-return] # a waiter is untyped

    @property
    def fork_server_pid(self) -> int | None:
        """The process number of the fork server, None while there is none."""
        server = self._fork_server
        return None if server is None else server.pid

    def renew(self) -> None:
        """Start later processes from the files as they are now: the fork server has imported older ones."""
        self._outdated.set()

    def close(self) -> None:
        """End the thread and the fork server, after the requests that were made."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._closing.set()
        server = self._fork_server
        if server is not None and not KEPT.keeps(server):
            server.kill()  # the thread may be waiting for it while it imports
        self._requests.put(None)
        thread.join()

    # -- in the thread -----------------------------------------------------------------------

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            launch, waiter = request
            started, failure = None, None
            try:
                started = self._start(launch, waiter)
            except Exception as error:  # noqa: BLE001 - it is the answer to whoever asked
                failure = error
            try:
                self._loop.call_threadsafe(_settle, waiter, started, failure)
            except RuntimeError:  # the loop has ended: nobody owns the process
                if started is not None:
                    started.end()
        server, self._fork_server = self._fork_server, None
        if server is not None:
            KEPT.put(server)

    def _start(self, launch: Launch, waiter: Waiter) -> Started:
        for attempt in range(1, _TRIES + 1):
            server = None if waiter.done() else self._fork_server_for(launch)
            if server is None or waiter.done():
                break
            started = self._fork(server, launch)
            if started is not None:
                return started
            self._close_server()
            if attempt == _TRIES:
                # One may have been killed by accident, two hardly.
                self._give_up(server.context, f"{_TRIES} of them in a row ended instead of forking")
        if waiter.done():
            # It may have waited long for an import: the descriptors of the launch are closed, and their
            # numbers may be those of others.
            raise OSError(errno.ECANCELED, "the caller was cancelled")
        if self._closing.is_set():
            raise OSError(errno.ECANCELED, "the system is ending")
        return start_by_exec(launch)

    def _fork(self, server: ForkServer, launch: Launch) -> Started | None:
        server.found.refuse_threads_of(launch.threadless)
        try:
            return server.fork(launch)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            self._give_up(server.context, f"it cannot fork: {error}")
            return None

    def _give_up(self, context: LaunchContext, why: str) -> None:
        """Start nodes without a fork server until the context changes."""
        self._unusable_context = context
        self._say("fork_server_unusable", {"why": why})

    def _say(self, kind: str, facts: dict[str, Any]) -> None:
        if not self._closing.is_set():
            self._loop.call_threadsafe(self._tell, kind, facts)

    def _fork_server_for(self, launch: Launch) -> ForkServer | None:
        """Return a fork server that is ready and has the context of a new process, or None for exec."""
        self._end_outdated()
        # Modules are imported with the variables of their group, which so are those of the fork server.
        own = launch.env if launch.preload else {}
        names = [*(() if launch.preload else launch.env), *launch.own_env]
        reason = exec_reason(self._machine, names, custom_site())
        if reason:
            self._not_shared(launch, reason)
            return None
        command = python(FORK_SERVER_MODULE)
        environment = {**own_environment(), **own, **launch.common}
        try:
            context = LaunchContext.now(command, environment)
            if self._fork_server is not None and self._fork_server.context != context:
                self._close_server()
            if self._fork_server is None:
                self._fork_server = KEPT.take(context, launch)
            if self._fork_server is None and self._unusable_context != context:
                self._fork_server = ForkServer(context, command, launch, environment)
                if self._closing.is_set() or not self._becomes_ready(self._fork_server):
                    self._give_up(context, "it did not get ready")
                    self._close_server()
        except OSError:
            return None  # an exec reports what is missing, if it needs that, too
        except PreloadFailed:
            self._close_server()
            raise
        return self._fork_server

    def _end_outdated(self) -> None:
        """End the fork server that has imported files as they were before `renew`."""
        if self._outdated.is_set():
            self._outdated.clear()
            self._unusable_context = None
            self._close_server()
            KEPT.drop()

    def _becomes_ready(self, server: ForkServer) -> bool:
        """Wait until it can fork; tell what its imports have left there that no fork can have."""
        if not server.wait_ready():
            return False
        found = server.found
        for slow in found.slow:
            self._say("slow_import", slow)
        if found.threads > 1:
            names = ", ".join(found.thread_modules)
            self._say("preload_threads", {"module": names, "threads": found.threads})
        if found.descriptors:
            names = ", ".join(found.descriptor_modules)
            facts = {"module": names, "descriptors": ", ".join(found.descriptors)}
            self._say("preload_descriptors", facts)
        return True

    def _not_shared(self, launch: Launch, why: str) -> None:
        """Tell once that each node imports by itself what they were to share."""
        if launch.preload and why != self._told:
            self._told = why
            self._say("fork_server_unusable", {"why": why})

    def _close_server(self) -> None:
        server, self._fork_server = self._fork_server, None
        if server is not None:
            server.close()


def _settle(waiter: Waiter, started: Started | None, error: Exception | None) -> None:
    if waiter.done():
        if started is not None:  # the caller was cancelled: nobody owns the process
            started.end()
    elif error is not None:
        waiter.set_exception(error)
    else:
        waiter.set_result(started)
