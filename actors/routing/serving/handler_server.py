"""What the servers of `async def` handlers share: one task for each connection or datagram.

Rule 1: what a handler raises ends its own task and no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import iscoroutinefunction
from typing import Any, ClassVar

import anyio

from actors._base.loop import Loop
from actors.routing.errors import HandlerUnfit
from actors.routing.events import HandlerFailed
from actors.routing.interfaces import Report
from actors.routing.listen.listener import Listener
from actors.routing.request_times import RequestTimes
from actors.routing.serving.open_work import OpenWork

__all__ = ["HandlerServer"]


class HandlerServer:
    """Runs a handler for each piece of work. See `Server` for what each method promises."""

    signature: ClassVar[str]
    """How the handler has to be written, for errors."""
    unit: ClassVar[str]
    """What one piece of work is, for names of tasks."""

    def __init__(
        self, spec: Listener, loop: Loop, *, report: Report, resolve: Callable[[str], Any]
    ) -> None:
        self._spec = spec
        self._loop = loop
        self._report = report
        self._resolve = resolve
        self._handler: Any = None
        self.served: int = 0
        """Connections or datagrams so far."""
        self.times: RequestTimes = RequestTimes()
        self._scopes: OpenWork[anyio.CancelScope | None] = OpenWork()
        self._aborting = False

    @property
    def open(self) -> int:
        """Connections or datagrams being handled."""
        return len(self._scopes)

    async def start(self) -> None:
        """Import the handler.

        Raises:
            HandlerNotFound: it cannot be imported.
            HandlerUnfit: it is not an async function.
        """
        path = self._spec.path
        handler = self._resolve(path)
        called = handler if iscoroutinefunction(handler) else getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__ is accepted
        if not iscoroutinefunction(called):
            raise HandlerUnfit(path, f"it must be {self.signature}, got {handler!r}")
        self._handler = handler

    def slots_changed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        """Do nothing: only HTTP requests are checked against the slots."""

    async def drain(self, seconds: float, patience: float = 0.0) -> None:  # noqa: ARG002 - only a handler knows which client idles
        """After *seconds* cancel the handlers that have not ended."""
        with anyio.move_on_after(seconds):
            await self._scopes.wait_idle()
        self._aborting = True
        for scope in list(self._scopes.values()):
            if scope is not None:
                scope.cancel()
        await self._scopes.wait_idle()

    async def stop(self) -> None:
        """Cancel every handler."""
        await self.drain(0)

    def _spawn(
        self, number: int, handle: Callable[[], Awaitable[object]], ended: Callable[[], object]
    ) -> None:
        """Start a task that calls *handle*; *ended* is called in any case, when the task ends."""
        # The task makes its own scope: the caller is a callback of the loop, not a task.
        self._scopes[number] = None
        self.served += 1
        name = f"{self._spec.name} {self.unit} {number}"
        self._loop.start(self._run, number, handle, ended, name=name)

    async def _run(
        self, number: int, handle: Callable[[], Awaitable[object]], ended: Callable[[], object]
    ) -> None:
        if self.times.on:
            self.times.begin(number)
        try:
            with anyio.CancelScope() as scope:
                self._scopes[number] = scope
                if not self._aborting:
                    await handle()
        except Exception as error:  # noqa: BLE001 - reported; the others go on
            self._report(HandlerFailed(self._spec.name, number, error))
        finally:
            self._scopes.end(number)
            if self.times.began:
                self.times.end(number)
            ended()
