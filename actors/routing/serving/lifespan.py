"""The lifespan of an ASGI application: startup before the first connection, shutdown at the end.

Rule 1: only the protocol: one scope, two messages each way.
Rule 2: an application without lifespan support is accepted, unless `lifespan="on"` requires it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from actors._base.waited_start import WaitedStart
from actors.routing.errors import LifespanFailed

__all__ = ["App", "LifespanRun"]

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]],
    Awaitable[None],
]


class LifespanRun:
    """One run of the lifespan of one application.

    Args:
        app: the application.
        path: its import path, for errors.
        required: whether an application without lifespan is an error.
        state: the state that every connection's scope gets a copy of; the application fills it.
    """

    def __init__(self, app: App, path: str, *, required: bool, state: dict[str, Any]) -> None:
        self._app = app
        self._path = path
        self._required = required
        self._state = state
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._phase = ""
        self._answer: asyncio.Future[str | None] | None = None
        """Why the phase failed; None if it is complete."""
        self._task: asyncio.Task[None] | None = None
        self._start: WaitedStart | None = None

    async def startup(self) -> None:
        """Run the startup of the application.

        Raises:
            LifespanFailed: the application reported it, or it does not support lifespan and must.
        """
        self._task = asyncio.create_task(self._run(), name=f"lifespan of {self._path}")
        try:
            failure, ended = await self._send("startup")
        finally:
            if self._start is not None:
                self._start.over()
        if failure is None and not ended:
            return
        error = await self._wait_end()
        if failure is not None:
            raise LifespanFailed(self._path, "startup", failure) from error
        if self._required:
            why = (
                "it ended without saying that startup is complete" if error is None else repr(error)
            )
            raise LifespanFailed(self._path, "startup", why) from error

    async def shutdown(self) -> None:
        """Run the shutdown of the application, if it supports lifespan and has not ended.

        Raises:
            LifespanFailed: the application reported it, or raised.
        """
        task = self._task
        if task is None:
            return
        failure: str | None = None
        if not task.done():
            failure, _ = await self._send("shutdown")
        error = await self._wait_end()
        if failure is not None or error is not None:
            why = failure if failure is not None else repr(error)
            raise LifespanFailed(self._path, "shutdown", why) from error

    async def _send(self, phase: str) -> tuple[str | None, bool]:
        """Send a phase; return why it failed, and whether the application ended without an answer."""
        assert self._task is not None
        self._phase = phase
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait({"type": f"lifespan.{phase}"})
        try:
            both: set[asyncio.Future[Any]] = {answer, self._task}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        return (answer.result(), False) if answer.done() else (None, True)

    async def _wait_end(self) -> BaseException | None:
        """Wait for the application to end; return what it raised."""
        task = self._task
        assert task is not None
        self._task = None
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        return None if task.cancelled() else task.exception()

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
        }
        self._start = WaitedStart(f"the lifespan of {self._path!r}")
        await self._app(scope, self._inbox.get, self._receive_answer)

    async def _receive_answer(self, message: Message) -> None:
        head, _, outcome = message["type"].rpartition(".")
        answer = self._answer if head == f"lifespan.{self._phase}" else None
        if answer is None or answer.done() or outcome not in ("complete", "failed"):
            raise RuntimeError(f"unexpected ASGI message {message['type']!r} in lifespan")
        said = str(message.get("message", "")) or "the application did not say why"
        answer.set_result(said if outcome == "failed" else None)
