"""What `actors report` writes, as plain data: what a system is, what it does, and what happened to it last.

Rule 1: a part that cannot be had is its error; the others are there.
Rule 2: what is kept for it is bounded: the last events, without the errors, whose frames would live on.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from actors._base.control_folder import control_folder
from actors._base.errors import ActorsError
from actors._base.events import TRACE, DelayedDelivery
from actors._base.log import iso_time
from actors._base.version import installed_version, which_twins
from actors._system.control.ended_nodes import not_running
from actors._system.control.ps import ps
from actors._system.control.top import top
from actors.supervisors import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from actors._base.events import Event
    from actors._system.coordinator import Coordinator
    from actors.nodes import RemoteNode

__all__ = ["Reports", "report"]

_EVENTS: Final = 300
_LONGEST_FACT: Final = 4000
_WITHIN: Final = 5.0
"""Seconds for the nodes to answer, all together."""
_KEPT: Final = 10
"""Reports of fatal ends; the oldest are removed."""
_LIBRARIES: Final = ("anyio", "httptools", "msgpack", "structlog", "trio", "uvloop", "websockets")
_USUAL: Final = frozenset({TRACE, "child_started"})


class Reports:
    """Keeps the last events of a system, and writes its report if it ends by itself."""

    def __init__(self, core: Coordinator) -> None:
        self._core = core
        self._began = time.time()
        self._recent: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        # A moment later, as the log does: a restart does not wait for the text of a traceback.
        self._delayed = DelayedDelivery(self._keep, core.loop.call_later)
        core.bus.subscribe(self._take)

    def _take(self, event: Event) -> None:
        if event.kind not in _USUAL:
            self._delayed(event)

    def _keep(self, event: Event, at: float) -> None:
        facts = {
            name: value[:_LONGEST_FACT] if isinstance(value, str) else value
            for name, value in event.facts.items()
        }
        self._recent.append({"at": iso_time(at), "kind": event.kind, "facts": facts})

    async def make(self, why: str = "") -> dict[str, Any]:
        """Return the report.

        Args:
            why: what ended the system; "" if it runs.
        """
        core = self._core
        self._delayed.flush()
        return {
            "at": iso_time(time.time()),
            "ended_by": why,
            "pid": os.getpid(),
            "began": iso_time(self._began),
            "versions": _versions(),
            "ps": await _part(ps(core)),
            "tree": await _part(core.whole_tree()),
            "top": await _part(top(core, 0.5, 100)),
            "stacks": {name: await _part(_stacks(node)) for name, node in core.nodes.items()},
            "events": list(self._recent),
        }

    async def write(self, why: str) -> None:
        """Write the report of a fatal end into the control folder, and say where it is."""
        folder = control_folder() / "reports"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.json"
            text = json.dumps(await self.make(why), default=str, indent=1)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600)
            for old in sorted(folder.glob("*.json"))[:-_KEPT]:
                old.unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            self._core.event("report_failed", {"folder": str(folder), "why": shown(error)})
        else:
            self._core.event("report_written", {"path": str(path)})


async def report(core: Coordinator) -> dict[str, Any]:
    """Return the report of a running system."""
    made: dict[str, Any] = await core.reports.make()
    return made


async def _part(made: Awaitable[Any]) -> Any:
    try:
        with anyio.fail_after(_WITHIN):
            return await made
    except (ActorsError, TimeoutError) as error:
        return {"error": shown(error) or f"no answer within {_WITHIN:g} s"}


async def _stacks(node: RemoteNode) -> dict[str, Any]:
    run = node.run or node.accepting_run
    if run is None:
        raise not_running(node)
    return await run.stacks()


def _versions() -> dict[str, str]:
    from importlib import metadata  # noqa: PLC0415 - its memory is for reports alone

    found = {
        "actors": installed_version(),
        "twins": which_twins(),
        "python": sys.version,
        "platform": platform.platform(),
        "executable": str(Path(sys.executable)),
    }
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
