"""Looks at the thresholds of a running system, and tells when one is crossed; who is told, in `alerts_spec`.

Rule 1: what is done about an alert runs in a process of its own, one after the other, each for a limited time:
it never keeps the system waiting, and what it fails by is an event.
Rule 2: what waits to be told is bounded; the oldest is dropped, and counted.
Rule 3: thresholds may change while it runs: what is over the new ones stays raised, anything else is cleared.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import anyio

from actors._base.errors import ActorsError
from actors._base.log import iso_time
from actors._remoting import admin_operations as admin_ops
from actors._system.alerts_spec import Reading
from actors.programs import run_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actors._base.events import Event
    from actors._system.alerts_spec import Alerts
    from actors._system.system_state import SystemState
    from actors.nodes import RemoteNode
    from actors.programs import ProgramThreads

__all__ = ["AlertWatch"]

_ANSWERS_WITHIN: Final = 1.0
_A_MINUTE: Final = 60.0
_MOST_WAITING: Final = 100
_LASTS: Final = 10.0
"""Seconds that a command or a webhook has."""
_RESTARTS_KEPT: Final = 10_000


class AlertWatch:
    """Watches one system.

    Args:
        state: of the system.
        threads: where what is done about an alert is started.

    Attributes:
        spec: the thresholds at present; None when it does not look.
    """

    def __init__(self, state: SystemState, threads: ProgramThreads) -> None:
        self._threads = threads
        self._state = state
        self.spec: Alerts | None = None
        self._runs = False
        self._changed = anyio.Event()
        self._raised: dict[tuple[str, str], Alerts] = {}
        self._restarts: deque[float] = deque(maxlen=_RESTARTS_KEPT)
        self._waiting: deque[tuple[Alerts, dict[str, Any]]] = deque()
        self._dropped = 0
        self._more = anyio.Event()

    def watch(self, spec: Alerts | None) -> None:
        """Look for other thresholds from now on, or for none; what was raised for none is cleared."""
        self.spec = spec
        self._changed.set()
        self._changed = anyio.Event()
        if spec is None:
            self._clear(self._raised.keys(), {})
        elif not self._runs:
            self._runs = True
            self._state.bus.subscribe(self._count)  # restarts from now on count
            self._state.tasks.start_soon(self._run)

    async def _run(self) -> None:
        """Look again and again, until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tell_all)
                while not self._state.stopping:  # nodes that end answer late
                    await self._look()
                tasks.cancel_scope.cancel()
        finally:
            self._state.bus.unsubscribe(self._count)

    async def _look(self) -> None:
        """Wait until it is time, and look; nothing is done if the thresholds change meanwhile."""
        spec, changed = self.spec, self._changed
        with anyio.move_on_after(None if spec is None else spec.every):
            await changed.wait()
        if spec is None or changed.is_set():
            return
        readings = await self._readings(spec)
        if not self._state.stopping and not changed.is_set():
            self.take(spec, readings)

    def _count(self, event: Event) -> None:
        if event.kind == "restart_scheduled":
            self._restarts.append(time.monotonic())

    async def _readings(self, spec: Alerts) -> list[Reading]:
        found: list[Reading] = []
        async with anyio.create_task_group() as tasks:
            for node in self._state.nodes.values():
                if node.ready:
                    tasks.start_soon(self._read, spec, node, found)
        since = time.monotonic() - _A_MINUTE
        while self._restarts and self._restarts[0] < since:
            self._restarts.popleft()
        found.append(Reading("restarts", "system", len(self._restarts)))
        return found

    async def _read(self, spec: Alerts, node: RemoteNode, found: list[Reading]) -> None:
        began = time.monotonic()
        with anyio.move_on_after(_ANSWERS_WITHIN):
            try:
                limit = spec.limit_of("mailbox")
                said = await node.link.call(admin_ops.readings, min(limit, 1 << 62))
            except ActorsError:
                return  # it has just ended
            found.append(Reading("memory", node.name, said["rss"]))
            found.append(Reading("lag", node.name, max(said["lag"], time.monotonic() - began)))
            found.extend(Reading("mailbox", name, many) for name, many in said["full"])
            return
        found.append(Reading("lag", node.name, time.monotonic() - began))

    def take(self, spec: Alerts, readings: list[Reading]) -> None:
        """Say which thresholds are crossed now and were not, and which were and are not."""
        over = {
            (reading.what, reading.of): reading.value
            for reading in readings
            if reading.value > spec.limit_of(reading.what)
        }
        known = {(reading.what, reading.of): reading.value for reading in readings}
        for key, value in over.items():
            if key not in self._raised:
                self._say("alert_raised", spec, key, value)
        self._clear(self._raised.keys() - over.keys(), known)
        self._raised = {key: self._raised.get(key, spec) for key in over}

    def _clear(
        self, keys: Iterable[tuple[str, str]], known: Mapping[tuple[str, str], float]
    ) -> None:
        """Say that alerts are over, with the threshold by which they were raised, and to whom that was told."""
        for key in list(keys):
            self._say("alert_cleared", self._raised.pop(key), key, known.get(key))

    def _say(self, kind: str, spec: Alerts, key: tuple[str, str], value: float | None) -> None:
        what, of = key
        shown = None if value is None else round(value, 3)
        facts = {"what": what, "of": of, "value": shown, "limit": spec.limit_of(what)}
        self._state.event(kind, facts)
        if not (spec.command or spec.webhook):
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        at = iso_time(time.time())
        self._waiting.append((spec, {"alert": kind, "at": at, "system": os.getpid(), **facts}))
        self._more.set()

    async def _tell_all(self) -> None:
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            while self._waiting:
                spec, facts = self._waiting.popleft()
                if self._dropped:
                    facts["dropped"], self._dropped = self._dropped, 0
                for name, command in _commands(spec):
                    await self._tell(name, command, facts)

    async def _tell(self, name: str, command: list[str], facts: dict[str, Any]) -> None:
        env = {**os.environ, "ACTORS_ALERT": json.dumps(facts)}
        why = await self._why_not_told(command, env)
        if why:
            self._state.event("alert_failed", {"command": name, "why": why, "what": facts["what"]})

    async def _why_not_told(self, command: list[str], env: dict[str, str]) -> str:
        try:
            end = await run_once(command, env, _LASTS, loop=self._state.loop, threads=self._threads)
        except OSError as error:
            return f"cannot be started: {error.strerror or error}"
        if end.code is None:
            return f"took longer than {_LASTS:g} s"
        return str(end) if end.code else ""


def _commands(spec: Alerts) -> list[tuple[str, list[str]]]:
    """Return what is run to tell of an alert, each with what it is called in the log."""
    commands = [(spec.command[0], list(spec.command))] if spec.command else []
    if spec.webhook is not None:
        post = [sys.executable, "-m", "actors._system.webhook", spec.webhook]
        commands.append((spec.webhook, post))
    return commands
