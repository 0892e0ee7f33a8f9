"""Runs `actors run` or `actors serve` as a process and reads its log.

Rule: nobody sleeps here. Everything is waited for: a line of the log, a message, the end.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import urlencode

import anyio
import anyio.to_thread
import psutil

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0

Fact: TypeAlias = dict[str, Any]


def free_port() -> int:
    """Return a port that nobody has right now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class ServerProcess:
    """A system started from the command line; its log is read line by line."""

    def __init__(
        self, *arguments: str, folder: Path, env: Mapping[str, str], python: str = sys.executable
    ) -> None:
        self.port = free_port()
        self.folder = folder
        self.facts: list[Fact] = []
        self.lines: list[str] = []
        self.ended = False
        self.cwd = ROOT
        self.env = {
            **os.environ,
            "ACTORS_LOG_FORMAT": "json",
            "CHAT_PORT": str(self.port),
            "CHAT_DB": str(folder / "chat.sqlite3"),
            "XDG_RUNTIME_DIR": str(folder),
            **env,
        }
        self._heard = threading.Condition()
        self.process = subprocess.Popen(
            [python, "-m", "actors", *arguments],
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            self.wait_for("system ready")
        except BaseException:
            self.close()
            raise
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, cleanly if it can, and forget nothing that it started."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._heard:
                self.lines.append(line)
                if line.startswith("{"):
                    self.facts.append(json.loads(line))
                self._heard.notify_all()
        with self._heard:
            self.ended = True
            self._heard.notify_all()

    def wait_for(self, event: str, **facts: object) -> Fact:
        """Wait until the log has a line of that event with these facts, and return it."""

        def find() -> Fact | None:
            wanted = {"event": event} | facts
            return next((fact for fact in self.facts if wanted.items() <= fact.items()), None)

        with self._heard:
            self._heard.wait_for(lambda: find() is not None or self.ended, PATIENCE)
            found = find()
        assert found is not None, f"no {event!r} with {facts} in:\n{''.join(self.lines)}"
        return found

    async def hears(self, event: str, **facts: object) -> Fact:
        """Wait as `wait_for` does, and let the loop run."""
        return await anyio.to_thread.run_sync(lambda: self.wait_for(event, **facts))

    def pid(self, node: str) -> int:
        """Return the process of *node*, as it was said last."""
        started = [fact for fact in self.facts if fact.get("event") == "node ready"]
        pid: int = [fact["pid"] for fact in started if fact["node"] == node][-1]
        return pid

    def signal(self, node: str, number: signal.Signals) -> None:
        """Send a signal to the process of *node*."""
        os.kill(self.pid(node), number)

    def rss(self, node: str | None = None) -> int:
        """Return the resident memory of *node*, or of the parent, in bytes."""
        pid = self.process.pid if node is None else self.pid(node)
        return int(psutil.Process(pid).memory_info().rss)

    def connect(self) -> None:
        """Connect to its port and close again."""
        socket.create_connection(("127.0.0.1", self.port), timeout=2).close()

    def url(self, scheme: str, path: str, **query: object) -> str:
        """Return an address of this system."""
        return f"{scheme}://127.0.0.1:{self.port}{path}?{urlencode(query)}"
