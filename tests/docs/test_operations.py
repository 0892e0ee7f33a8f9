"""What the operations guide shows is what the commands print: it is run, line by line, on a real system."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running_command import PATIENCE, command, environment, run_here
from tests.docs.console import commands, plain, shows
from tests.docs.pages import ROOT, blocks, programs

PAGE = ROOT / "docs" / "guides" / "operations.md"
CONSOLE = [block for block in blocks(PAGE) if block.language == "console"]


class Shop:
    """The system of the page, in another process, with somebody who follows its events."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        (folder / "shop.py").write_text(programs(PAGE)[0].source, encoding="utf-8")
        self.runtime = runtime
        self.log: list[str] = []
        self._env = environment(runtime, ACTORS_LOG_FORMAT="console")
        self.process = self._start(folder, "run", "shop:topology")
        self.follower: subprocess.Popen[str] | None = None

    def _start(self, folder: Path, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(*words),
            cwd=folder,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def begin(self, folder: Path) -> None:
        """Wait until the system can be run_here, and follow it from there on."""
        assert self.process.stderr is not None
        while "control socket" not in (self.log or [""])[-1]:
            self.log.append(self.process.stderr.readline().rstrip("\n"))
            assert self.log[-1], self.log
        self.follower = self._start(folder, "events")
        assert self.follower.stderr is not None
        assert "following" in self.follower.stderr.readline()

    def run(self, line: str) -> list[str]:
        """Run a command of the page; return what it prints."""
        self._signal(line)
        first, *_ = [part for part in line.split("; ") if part.startswith("actors ")] or [""]
        if not first:
            return []
        code, out, err = run_here(self.runtime, *first.split()[1:])
        assert "echo $?" in line or (code, err) == (0, "")
        if line.startswith("actors kill"):
            self._until_it_is_back(line.split()[2])
        return [*out.splitlines(), *err.splitlines(), *([str(code)] if "echo $?" in line else [])]

    def _signal(self, line: str) -> None:
        """Send the signal of a line, to the node that is the first of all."""
        if line.startswith("kill -"):
            row = run_here(self.runtime, "ps")[1].splitlines()[3]
            pid = int(row.split()[3])
            number = signal.Signals[f"SIG{line.split()[1].removeprefix('-')}"]
            subprocess.run(["/bin/kill", f"-{number.value}", str(pid)], check=True)

    def _until_it_is_back(self, name: str) -> None:
        """Wait for the next run of a node: just after its end it may still be shown as ready."""
        deadline = time.monotonic() + PATIENCE
        while (name, "READY", 1) not in {
            (node["name"], node["state"], node["restarts"]) for node in self._nodes()
        }:
            assert time.monotonic() < deadline, self._nodes()

    def _nodes(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = json.loads(run_here(self.runtime, "ps", "--json")[1])["nodes"]
        return nodes

    def close(self) -> None:
        for process in (self.process, self.follower):
            if process is not None:
                process.kill()
                process.communicate(timeout=PATIENCE)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.chdir(tmp_path)  # what commands write
    runtime = Path(tempfile.mkdtemp(prefix="actors-ops-"))
    made = Shop(tmp_path, runtime)
    try:
        made.begin(tmp_path)
        yield made
    finally:
        made.close()
        shutil.rmtree(runtime)


def test_every_command_of_the_operations_guide_prints_what_the_page_shows(shop: Shop) -> None:
    followed: list[str] = []
    for block in CONSOLE:
        for line, page in commands(block):
            if line == "actors events":
                followed = page
                continue
            printed = shop.log if line.startswith("actors run") else shop.run(line)
            assert shows(page, printed), "\n".join([f"$ {line}", *map(plain, printed)])
    assert shop.follower is not None
    events, _ = shop.follower.communicate(timeout=PATIENCE)
    assert shows(followed, events.splitlines()), events
    assert shop.process.wait(PATIENCE) == 0


def test_every_line_of_the_log_that_the_page_explains_is_one_there_is() -> None:
    known = (ROOT / "actors" / "_base" / "event_log.py").read_text(encoding="utf-8")
    table = [
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    named = [name for line in table for name in re.findall(r"`([a-z ]+)`", line.split("|")[1])]
    assert len(named) > 15
    unknown = [name for name in named if f'"{name.replace(" ", "_")}"' not in known]
    assert unknown == []
