"""A system over three hosts of a virtual network, driven by a test: its parent on host 1, nodes on 2, 3."""

from __future__ import annotations

import json
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.machines.virtual_network import VirtualNetwork
from tests.scripts import ROOT

__all__ = ["WAYS", "PartedSystem", "cut_by_chance", "parted_system"]

LATE = 90.0
WAYS = {
    "both ways": [(1, 2), (2, 1)],
    "to the parent": [(2, 1)],
    "from the parent": [(1, 2)],
}
"""How the parent and the host of its owner can be cut."""


class PartedSystem:
    """The parent's process, what it says, and the ledger that its actor writes."""

    def __init__(self, process: subprocess.Popen[str], ledger: Path) -> None:
        self._process = process
        self._ledger = ledger
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self.said: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self._lines.put(json.loads(line))

    def do(self, what: str, name: str) -> None:
        """Give it a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what} {name}\n")
        self._process.stdin.flush()

    def heard(self, **wanted: object) -> dict[str, Any]:
        """Wait until it has said something with these facts, since it was asked last; return it.

        What came of a command, by its name, may have been said before other things that were waited for.
        """
        for said in self.said if "name" in wanted else ():
            if wanted.items() <= said.items():
                return said
        until = time.monotonic() + LATE
        while True:
            found = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            self.said.append(found)
            if wanted.items() <= found.items():
                return found

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a kind that it has said so far."""
        while not self._lines.empty():
            self.said.append(self._lines.get())
        return [facts for facts in self.said if facts.get("event") == kind]

    def runs(self) -> list[tuple[str, float, float]]:
        """Return the incarnations that wrote the ledger, each with its first and its last time, in order."""
        runs: dict[str, tuple[float, float]] = {}
        for line in self._ledger.read_text(encoding="ascii").splitlines():
            at, incarnation = line.split()
            first, _ = runs.get(incarnation, (float(at), 0.0))
            runs[incarnation] = (first, float(at))
        return sorted(((name, *times) for name, times in runs.items()), key=lambda run: run[1])

    def overlaps(self) -> list[float]:
        """Return for how many seconds two incarnations ran beside each other, for each such pair."""
        return [
            last - first for (_, _, last), (_, first, _) in pairwise(self.runs()) if last >= first
        ]

    def end(self) -> int:
        """End it in order; return its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            return self._process.wait(LATE)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            assert self._process.stdout is not None
            self._process.stdout.close()


@contextmanager
def parted_system(network: VirtualNetwork, folder: Path, lease: float) -> Iterator[PartedSystem]:
    """Run one; it must end in order."""
    ledger = folder / "ledger"
    ledger.touch()
    hosts = [{"run": network.on(host)} for host in (2, 3)]
    options = {
        "hosts": hosts,
        "lease": lease,
        "reach": network.address(1),
        "ledger": str(ledger),
    }
    command = [sys.executable, "-m", "tests.machines.parted_parent", json.dumps(options)]
    process = subprocess.Popen(
        [*network.on(1), *command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    system = PartedSystem(process, ledger)
    try:
        system.heard(ready=True)
        yield system
    except BaseException:
        process.kill()
        system.end()
        raise
    assert system.end() == 0


def cut_by_chance(
    network: VirtualNetwork, system: PartedSystem, *, times: int, longest: float
) -> None:
    """Cut and heal so often, each time for *longest* seconds at most; the owner is asked after each."""
    chance = random.Random(times)
    for number in range(times):
        network.cut(*chance.choice(list(WAYS.values())))
        time.sleep(chance.uniform(0.2, longest))
        network.heal()
        system.do("ask", f"after {number}")
        system.heard(name=f"after {number}")
