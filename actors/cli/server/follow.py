"""Followers of a running system's events: one JSON line for each event, until one of the two ends.

Rule 1: the system never waits for who reads: a slow one loses the oldest events and is told how many.
Rule 2: a follower hears of the end, too: it is served as long as the system stops, not only while it runs.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Final

import anyio
from anyio.abc import SocketAttribute, SocketStream

from actors._base.events import Event, EventStream
from actors._base.log import iso_time
from actors._system.coordinator import Coordinator

__all__ = ["Followers"]

_MOST: Final = 16
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class Followers:
    """Serves those who follow the events of one system."""

    def __init__(self, core: Coordinator) -> None:
        self._core = core
        self._count = 0
        # The time of day at which the loop's clock began. Taken once: what came later is never told as
        # earlier, and everybody is told the same.
        self._since = time.time() - core.loop.now()

    async def serve(self, stream: SocketStream, details: dict[str, Any]) -> None:
        """Tell the other end what happens, until it closes or the system has ended."""
        try:
            async with stream:
                await self._serve(stream, **details)
        except _GONE:
            pass  # whoever asked has gone
        except Exception as error:  # noqa: BLE001 - a question must never end the system
            self._core.event("control_refused", {"why": f"{type(error).__name__}: {error}"})

    async def _serve(self, stream: SocketStream, *, messages: bool = False) -> None:
        if self._count >= _MOST:
            why = f"{_MOST} follow the events already, which is as many as may"
            await stream.send(_line({"ok": False, "error": why}))
            return
        self._count += 1
        events = self._core.bus.stream(messages=bool(messages))
        try:
            await stream.send(_line({"ok": True, "result": {"pid": os.getpid()}}))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_closed, stream, tasks.cancel_scope)
                await _tell(stream, events, self._since)
                tasks.cancel_scope.cancel()
        finally:
            self._count -= 1
            events.close()


async def _until_closed(stream: SocketStream, scope: anyio.CancelScope) -> None:
    """Notice that the other end has closed, also while nothing happens that it could be told."""
    try:
        while True:
            await stream.receive()
    except (anyio.EndOfStream, *_GONE):
        scope.cancel()


async def _tell(stream: SocketStream, events: EventStream, since: float) -> None:
    """Write what comes, as fast as it is read.

    When the system is over, this ends by what it has; only one whose reader does not read is cut off.
    """
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's, not Django's
    try:
        async for event in events:
            rest = _told(event, since)
            while rest := _write(raw, rest):
                await anyio.wait_writable(raw)
    except _GONE:
        return


def _told(event: Event, since: float) -> bytes:
    """Return one event as a line."""
    at = iso_time(since + event.at)
    return _line({"at": at, "kind": event.kind, "facts": dict(event.facts)})


def _write(raw: Any, data: bytes) -> bytes:
    """Write what the socket takes now; return the rest."""
    try:
        while data:
            data = data[raw.send(data) :]
    except BlockingIOError:
        pass
    return data


def _line(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
