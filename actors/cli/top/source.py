"""Asks the system for the full-screen `actors top`, over its control socket, from threads.

Rule 1: one connection for each question, as for every command; one more is kept for the events.
Rule 2: `close` ends all that is under way, so that nothing keeps the program from its end.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from actors._base.printable import printable_facts
from actors.cli._failure import FAILED, CommandFailed
from actors.cli.client import connect
from actors.cli.client.connection import REPLY_TIMEOUT, ControlConnection

__all__ = ["Source"]

_PAUSE: Final = 0.5
"""Seconds between two attempts to follow the events."""
_MOST_EVENTS: Final = 500
_WITH_LINES: Final = frozenset({"last_exit", "stack"})
"""Facts whose newlines are ours."""


class Source:
    """A system to ask, and the one that comes in its place.

    Args:
        which: what the user has chosen: the number of a process, a name, or None for the only system.

    Attributes:
        label: of the system that has answered last, "" before.
        events: the last events, the oldest first.
        came: how many events have come in all.
    """

    def __init__(self, which: str | None) -> None:
        self.label: str = ""
        self.events: deque[dict[str, Any]] = deque(maxlen=_MOST_EVENTS)
        self.came: int = 0
        self._which = which
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._open: set[ControlConnection] = set()
        self._threads = ThreadPoolExecutor(thread_name_prefix="actors top")

    def ask_now(self, op: str, *, wait: float = 0.0, **arguments: Any) -> Any:
        """Ask, in this thread; return the answer, in which all texts are fit for a terminal.

        Args:
            op: the operation.
            wait: seconds that the system itself may take for it.
            **arguments: those of the operation.

        Raises:
            CommandFailed: it refused, failed, did not answer in time, or does not run.
        """
        connection = self._dial()
        try:
            answer = connection.ask(op, timeout=REPLY_TIMEOUT + wait, **arguments)
            self.label = connection.label
        finally:
            self._hang_up(connection)
        return printable_facts(answer, _WITH_LINES)

    async def ask(self, op: str, *, wait: float = 0.0, **arguments: Any) -> Any:
        """Ask, as `ask_now`, while others go on."""
        return await self._in_thread(partial(self.ask_now, op, wait=wait, **arguments))

    async def follow(self) -> None:
        """Keep the events as they come, of one system after another."""
        await self._in_thread(self._follow)

    async def _in_thread(self, act: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act)

    def close(self) -> None:
        """End every connection and thread."""
        with self._lock:
            self._over.set()
            for connection in self._open:
                connection.abort()
        self._threads.shutdown()

    def _dial(self) -> ControlConnection:
        """Connect to the same system again, or to another that the user's choice means."""
        try:
            connection = connect(self.label or self._which)
        except CommandFailed:
            if not self.label:
                raise
            connection = connect(self._which)
        with self._lock:
            if not self._over.is_set():
                self._open.add(connection)
                return connection
        connection.close()
        raise CommandFailed("this ends", FAILED)

    def _hang_up(self, connection: ControlConnection) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def _follow(self) -> None:
        pause = 0.0
        while not self._over.wait(pause):
            pause = _PAUSE
            try:
                connection = self._dial()
            except CommandFailed:
                continue
            try:
                for event in connection.follow("events"):
                    self.events.append(event)
                    self.came += 1
            except (CommandFailed, ValueError):
                continue
            finally:
                self._hang_up(connection)
