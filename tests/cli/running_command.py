"""Runs the `actors` command, in this process or in one of its own, and waits for what it logs.

Rule: nothing here sleeps; a line is waited for, with a deadline.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.cli import main

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 25.0


def environment(runtime: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}",
        "XDG_RUNTIME_DIR": str(runtime),
        "ACTORS_LOG": "info",
        "ACTORS_LOG_FORMAT": "json",
        **more,
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "actors", *arguments]


def run_command(
    runtime: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=HERE,
        env=environment(runtime, **(env or {})),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def run_here(runtime: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code, its output and its errors."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        code = main(arguments)
    out.seek(0)
    return code, out.read(), err.getvalue()


class Running:
    """A system in the foreground of a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], runtime: Path) -> None:
        self.process = process
        self.runtime = runtime
        self.pid = process.pid
        self.lines: list[str] = []
        self.events: list[dict[str, Any]] = []
        """The lines that are records."""
        self.nodes: list[int] = []
        """Descriptors of the processes of its nodes, ready to read once they have ended."""
        self._unread = b""

    @property
    def socket(self) -> Path:
        return self.runtime / "actors" / f"{self.pid}.sock"

    def event(self, name: str, **facts: object) -> dict[str, Any]:
        """Return the first log line with these facts, of those read already and those to come."""
        wanted = {"event": name, **facts}
        deadline = time.monotonic() + PATIENCE
        seen = 0
        while True:
            for event in self.events[seen:]:
                seen += 1
                if wanted.items() <= event.items():
                    return event
            assert self._read(deadline), f"no line {wanted}, but:\n" + "\n".join(self.lines)

    def line(self, text: str) -> None:
        """Wait for what is printed: by a node, or by the command itself."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.lines and all(text != said.get("event") for said in self.events):
            assert self._read(deadline), f"no line {text!r}, but:\n" + "\n".join(self.lines)

    def _read(self, deadline: float) -> bool:
        assert self.process.stderr is not None
        fd = self.process.stderr.fileno()
        ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
        data = os.read(fd, 65536) if ready else b""
        *lines, self._unread = (self._unread + data).split(b"\n")
        self.lines += [line.decode() for line in lines]
        self.events += [json.loads(line) for line in lines if line.startswith(b"{")]
        for line in lines:
            if re.search(rb'"event": "node ready"', line):
                with contextlib.suppress(ProcessLookupError):  # it has ended already
                    self.nodes.append(os.pidfd_open(json.loads(line)["pid"]))
        return bool(data)

    def end(self, number: signal.Signals | None = None) -> int:
        """Wait for the end, after a signal if one is given; return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE)

    def nodes_have_ended(self) -> bool:
        ended = select.poll()
        for node in self.nodes:
            ended.register(node, select.POLLIN)
        deadline = time.monotonic() + PATIENCE
        while len(ended.poll(100)) < len(self.nodes):
            if time.monotonic() > deadline:
                return False
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()
        for node in self.nodes:
            os.close(node)


@contextmanager
def running(
    runtime: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    ready: str = "control socket",
    cwd: Path = HERE,
) -> Iterator[Running]:
    """Run the command in the foreground of another process, from its *ready* line to the block's end."""
    process = subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment(runtime, **(env or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    system = Running(process, runtime)
    try:
        if ready:
            system.event(ready)
        yield system
    finally:
        system.close()


def error_of(stderr: str, name: str) -> str:
    """Return the one error among log lines; it must be one, and no traceback."""
    lines = [line for line in stderr.splitlines() if not line.startswith("{")]
    found = [number for number, line in enumerate(lines) if line.startswith(f"{name}: error: ")]
    assert len(found) == 1, stderr
    return "\n".join(lines[found[0] :]).removeprefix(f"{name}: error: ")


def sockets(runtime: Path) -> Sequence[str]:
    folder = runtime / "actors"
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(path.name for path in paths if path.is_socket())
