"""What tests see of the places of a system: its events, agents and processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from actors import System, Topology
from actors._base.events import Event
from actors._system.system import coordinator_of
from actors.machines.place import Place
from actors.testing import running_system
from tests.scripts import start

_PATIENCE = 100.0


@asynccontextmanager
async def system_with_events(
    topology: Topology,
) -> AsyncIterator[tuple[System, list[Event]]]:
    """Run a system, and collect its events."""
    async with running_system(topology) as system:
        events: list[Event] = []
        coordinator = coordinator_of(system)
        coordinator.bus.subscribe(events.append)
        yield system, events


def place_of(system: System, node: str) -> Place:
    """Return the place of a node."""
    found: Any = coordinator_of(system).nodes[node]
    assert found.current_place is not None
    place: Place = found.current_place
    return place


def kinds(events: list[Event], *wanted: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of these kinds."""
    return [(event.kind, dict(event.facts)) for event in events if event.kind in wanted]


def run_script(path: Path, source: str) -> tuple[int | None, str, str]:
    """Run a script to its end, as `tests.scripts.run`, however busy the machine is."""
    script = start(path, source)
    try:
        out, err = script.communicate(timeout=_PATIENCE)
    finally:
        script.kill()
        script.wait()
    return script.returncode, out, err


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
