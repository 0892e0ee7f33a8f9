"""Sends the events of a system to connections of its control socket, one JSON line each.

Rule 1: the system never waits for a reader: a slow one loses the oldest events, and is sent their number.
Rule 2: the last events are sent, too: a connection is served until the system has stopped.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import Any, Final

import anyio
from anyio.abc import SocketAttribute, SocketStream

from actors._base.events import EventStream
from actors._base.log import iso_time
from actors._system.coordinator import Coordinator
from actors.supervisors import shown

__all__ = ["EventFollowers", "cancel_when_closed"]

_MOST_FOLLOWERS: Final = 16
_CLOSED: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class EventFollowers:
    """Serves the connections that follow the events of one system."""

    def __init__(self, core: Coordinator) -> None:
        self._core = core
        self._count = 0
        # The time of day at which the loop's clock was 0. Read once, so that all followers are sent the same
        # times, and a changed system clock does not reorder events.
        self._clock_zero = time.time() - core.loop.now()

    async def serve(self, stream: SocketStream, arguments: dict[str, Any]) -> None:
        """Send events until the other end closes or the system has ended."""
        try:
            async with stream:
                await self._serve(stream, **arguments)
        except _CLOSED:
            pass  # the follower has closed its end
        except Exception as error:  # noqa: BLE001 - a request must never end the system
            self._core.event("control_refused", {"why": f"{type(error).__name__}: {shown(error)}"})

    async def _serve(self, stream: SocketStream, *, messages: bool = False) -> None:
        if self._count >= _MOST_FOLLOWERS:
            why = f"{_MOST_FOLLOWERS} follow the events already, which is as many as may"
            await stream.send(_line({"ok": False, "error": why}))
            return
        self._count += 1
        events = self._core.bus.stream(messages=bool(messages))
        try:
            await stream.send(_line({"ok": True, "result": {"pid": os.getpid()}}))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel_when_closed, stream, tasks.cancel_scope)
                await _send_events(stream, events, self._clock_zero)
                tasks.cancel_scope.cancel()
        finally:
            self._count -= 1
            events.close()


async def cancel_when_closed(stream: SocketStream, scope: anyio.CancelScope) -> None:
    """Cancel *scope* when the other end closes, even if no event is sent in the meantime."""
    try:
        while True:
            await stream.receive()
    except (anyio.EndOfStream, *_CLOSED):
        scope.cancel()


async def _send_events(stream: SocketStream, events: EventStream, clock_zero: float) -> None:
    """Send *events* as fast as they are read.

    When the system has stopped, this sends what the socket takes; the rest is lost if nobody reads it.
    """
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's, not Django's
    try:
        async for event in events:
            at = iso_time(clock_zero + event.at)
            unsent = _line({"at": at, "kind": event.kind, "facts": dict(event.facts)})
            while unsent := _write(raw, unsent):
                await anyio.wait_writable(raw)
    except _CLOSED:
        return


def _write(raw: Any, data: bytes) -> bytes:
    """Write as much as the socket takes without waiting; return the rest."""
    with suppress(BlockingIOError):
        while data:
            data = data[raw.send(data) :]
    return data


def _line(facts: dict[str, Any]) -> bytes:
    return (
        json.dumps(facts, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")
        + b"\n"
    )
