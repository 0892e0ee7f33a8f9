"""Real `actors join` programs, and the secret that they share with a system of the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from actors import Topology, nodes
from actors.testing import eventually
from tests.scripts import ROOT

WORDS = "a secret of enough bytes for everybody"
_PATIENCE = 60.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


class Agent:
    """One `actors join`, whose log is kept.

    Attributes:
        process: of the command.
    """

    def __init__(self, command: list[str], log: Path, env: dict[str, str]) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "ACTORS_LOG_FORMAT": "json", **env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def records(self, event: str) -> list[dict[str, Any]]:
        """Return the records of its log with this event."""
        lines = self._log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [record for record in found if record["event"] == event]

    @property
    def output(self) -> str:
        return self._log.read_text()

    async def said(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until it has said something, so often; return the last record."""
        await eventually(lambda: len(self.records(event)) >= count, within=_PATIENCE)
        return self.records(event)[-1]

    async def ended(self) -> int:
        """Wait for its end; return its exit code."""
        await eventually(lambda: self.process.poll() is not None, within=_PATIENCE)
        code: int = self.process.returncode
        return code

    def kill(self) -> None:
        """Kill it and what it has started, and reap it."""
        if self.process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


class Cluster:
    """A port, a secret and agents that know them.

    Attributes:
        port: where the system is to be.
        secret: the file.
        agents: all that were started.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.secret = self.secret_file("secret", WORDS)
        self.agents: list[Agent] = []

    def secret_file(self, name: str, text: str, mode: int = 0o600) -> Path:
        """Write a file with a secret."""
        path = self.folder / name
        path.write_text(text + "\n")
        path.chmod(mode)
        return path

    def topology(self, *groups: Any, **options: Any) -> Topology:
        """Return what a parent of this cluster is; without groups one node `far/0` of any agent."""
        options.setdefault("reach", f"127.0.0.1:{self.port}")
        options.setdefault("join_secret", self.secret)
        made = groups or (nodes("far", engine="join"),)
        return Topology(nodes=list(made), patience=60.0, **options)

    def agent(self, *options: str, run: tuple[str, ...] = (), **env: str) -> Agent:
        """Start an agent."""
        given = [] if "--secret-file" in options else ["--secret-file", str(self.secret)]
        parent = (
            [] if any(word.count(":") == 1 for word in options[:1]) else [f"127.0.0.1:{self.port}"]
        )
        command = [*run, sys.executable, "-m", "actors", "join", *parent, *given, *options]
        made = Agent(command, self.folder / f"agent-{len(self.agents)}.log", env)
        self.agents.append(made)
        return made

    def close(self) -> None:
        """Kill all agents."""
        for agent in self.agents:
            agent.kill()
