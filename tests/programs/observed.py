"""What tests of programs look at: the events of a system, and the facts of its instances."""

from __future__ import annotations

import itertools
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors import System, Topology
from actors._base.events import Event, EventStream
from actors._system.program_spec import ProgramSpec
from actors._system.system import coordinator_of

_TAKEN = itertools.count()
SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]


def python(source: str, *args: str) -> list[str]:
    """The command of a script in Python."""
    return [sys.executable, "-u", "-c", source, *args]


def free_ports(count: int = 1) -> int:
    """A port such that nobody listens on it and those behind it."""
    while True:
        first = 10_000 + (os.getpid() * 64 + next(_TAKEN) * count) % 20_000
        if all(_is_free(port) for port in range(first, first + count)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def runs(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Observed:
    """A running system with its events."""

    def __init__(self, system: System, events: EventStream) -> None:
        self.system = system
        self.programs = coordinator_of(system).programs
        self._events = events

    async def event(self, kind: str, **facts: Any) -> Event:
        """The next event of that kind, with these facts; those before it are passed over."""
        async for event in self._events:
            if event.kind == kind and facts.items() <= dict(event.facts).items():
                return event
        raise AssertionError(f"the system has ended without {kind} {facts}")

    def facts(self, name: str) -> list[dict[str, Any]]:
        return self.programs.facts(name)

    def pid(self, name: str) -> int:
        (facts,) = self.facts(name)
        return int(facts["pid"])


@asynccontextmanager
async def observed(*programs: ProgramSpec) -> AsyncIterator[Observed]:
    """Run programs around a test; its events are kept from before their start on."""
    async with System() as system:
        events = system.events()
        for spec in programs:
            await system.start(spec)
        yield Observed(system, events)
    events.close()


__all__ = ["SLEEPS", "Observed", "Topology", "free_ports", "observed", "python", "runs"]
