"""The chat over two hosts of a virtual network, and a third one with people in it, driven by a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.machines.parted_system import LATE, PartedSystem
from tests.machines.virtual_network import VirtualNetwork
from tests.scripts import ROOT

__all__ = ["LEASE", "FarChat", "far_chat"]

LEASE = 2.0


class FarChat:
    """The parent of the chat, and the crowd.

    Args:
        network: with three hosts.
        parent: on host 1, with the rooms; web nodes on hosts 1 and 2.
        crowd: on host 3.
    """

    def __init__(self, network: VirtualNetwork, parent: PartedSystem, crowd: PartedSystem) -> None:
        self.network = network
        self.parent = parent
        self.crowd = crowd
        self._numbers = iter(range(1_000_000))

    def _pid(self, of: str, name: str) -> int:
        """Return the process of a node or an agent, when there is one."""
        until = time.monotonic() + LATE
        while time.monotonic() < until:
            question = f"pids {next(self._numbers)}"
            self.parent.do("pids", question)
            pid = self.parent.heard(name=question)[of].get(name)
            if pid is not None:
                return int(pid)
            time.sleep(0.1)
        raise AssertionError(f"there is no {name}")

    def kill_node(self, node: str) -> None:
        """Kill a node, and wait until it is there again."""
        self._end(self._pid("pids", node), "node_ready", node=node)

    def kill_agent(self, place: str) -> None:
        """Kill an agent, and wait until another is there, and its nodes."""
        number = place.partition("@")[2]
        self._end(self._pid("agents", place), "node_ready", node=f"web/{number}")

    def _end(self, pid: int, event: str, **facts: Any) -> None:
        os.kill(pid, signal.SIGKILL)
        self.parent.heard(event=event, **facts)

    def cut(self, seconds: float) -> None:
        """Cut host 2 from host 1 for so long; what is lost by it comes back."""
        before = len(self.parent.told("place_lost"))
        self.network.part(1, 2)
        time.sleep(seconds)
        self.network.heal()
        if len(self.parent.told("place_lost")) > before:
            self.parent.heard(event="node_ready", node="web/1")

    def round(self) -> None:
        """Have everybody say one thing more, and hear it."""
        name = f"round {next(self._numbers)}"
        self.crowd.do("round", name.removeprefix("round "))
        self.crowd.heard(name=name)


def _started(command: list[str], ledger: Path, env: dict[str, str]) -> PartedSystem:
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return PartedSystem(process, ledger)


@contextmanager
def far_chat(network: VirtualNetwork, folder: Path, people: int = 4) -> Iterator[FarChat]:
    """Run it; everybody must have heard everything in the end."""
    env = {**os.environ, "CHAT_DB": str(folder / "chat.sqlite3"), "CHAT_PACE": "1000"}
    hosts = [{"run": network.on(host)} for host in (1, 2)]
    options = json.dumps({"hosts": hosts, "lease": LEASE, "reach": network.address(1)})
    module = [sys.executable, "-m"]
    command = [*network.on(1), *module, "tests.machines.chat_parent", options]
    parent = _started(command, folder / "none", env)
    crowd = None
    try:
        parent.heard(ready=True)
        options = json.dumps({"hosts": [network.address(1), network.address(2)], "people": people})
        command = [*network.on(3), *module, "tests.machines.chat_crowd", options]
        crowd = _started(command, folder / "none", env)
        crowd.heard(ready=True)
        yield FarChat(network, parent, crowd)
        assert crowd.end() == 0, "somebody has missed something"
    finally:
        if crowd is not None:
            crowd.end()
        ended = parent.end()
    assert ended == 0
