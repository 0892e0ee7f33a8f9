"""Runs scripts as their users do: in a process of their own, to the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[1]
_PATIENCE = 30.0


def start(path: Path, source: str | None = None, *args: str) -> subprocess.Popen[str]:
    """Start the script at *path*, written there first if its *source* is given."""
    if source is not None:
        path.write_text(dedent(source))
    return subprocess.Popen(
        [sys.executable, str(path), *args],
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACTORS_LOG": "error"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for its end; return its exit code and what it wrote."""
    try:
        out, err = process.communicate(timeout=_PATIENCE)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out, err


def run(path: Path, source: str | None = None, *args: str) -> tuple[int, str, str]:
    """Run a script to its end; return its exit code and what it wrote."""
    return finish(start(path, source, *args))


def wait_for_line(process: subprocess.Popen[str], line: str) -> None:
    """Read what it prints up to *line*."""
    assert process.stdout is not None
    for text in process.stdout:
        if text.strip() == line:
            return
    raise AssertionError(f"it ended without printing {line!r}: {finish(process)}")


def interrupt(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str, str]:
    """Send it a signal and return how it ended."""
    process.send_signal(number)
    return finish(process)


def run_pytest(file: Path, *options: str) -> str:
    """Run the tests of a file in a pytest of their own, which has our plugin; return what it said."""
    if not entry_points(group="pytest11", name="actors"):  # installed before the plugin was there
        options = ("-p", "actors.pytest_plugin", *options)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, "-o", "asyncio_default_fixture_loop_scope=function", *options, file.name],
        cwd=file.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACTORS_LOG": "error"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    return done.stdout + done.stderr
