"""A program that is no interpreter, frozen or with Python inside, never starts itself as a node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from actors.testing import eventually
from tests.scripts import ROOT, run, start

PATIENCE = 20
WAY_OUT = "set sys.executable to a Python interpreter, or use nodes(kind='thread')"
PROGRAM = """
import os, sys, actors

with open("starts", "a") as starts:
    print("started", file=starts)
{before}

async def main() -> None:
    nodes = actors.nodes("p", env={env}, boot_timeout=20)
    async with actors.System(actors.Topology(nodes=[nodes])):
        print("running")

if __name__ == "__main__":
    actors.run(main)
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: what is started is not the loop's business."""
    return "asyncio", {"use_uvloop": True}


def _executable(folder: Path, line: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return f"sys.executable = {str(path)!r}"


@pytest.mark.parametrize(
    "before, problem",
    [
        (
            "sys.frozen = True; sys.executable = '/opt/app'",
            "this program is frozen, and '/opt/app' would start it again: use nodes(kind='thread')",
        ),
        (
            "__compiled__ = 'Nuitka'; sys.executable = '/opt/app'",
            "this program is frozen, and '/opt/app' would start it again: use nodes(kind='thread')",
        ),
        (
            "sys.executable = ''",
            "sys.executable is '': " + WAY_OUT,
        ),
        (
            "sys.orig_argv[:] = []",
            f"{sys.executable!r} is a program with Python inside, not an interpreter: " + WAY_OUT,
        ),
    ],
)
def test_a_frozen_or_embedded_program_is_refused_before_anything_starts(
    tmp_path: Path, before: str, problem: str
) -> None:
    code, _, err = run(tmp_path / "app.py", PROGRAM.format(before=before, env={}))
    assert code == 1
    assert err.splitlines()[-1] == (
        f"actors.errors.BootFailed: node p/0 cannot be started: {problem}"
    )
    assert (tmp_path / "starts").read_text() == "started\n"


@pytest.mark.parametrize("env", [{}, {"LANG": "C"}], ids=["fork server", "node"])
def test_a_program_that_turns_out_to_be_the_same_one_starts_nothing_more(
    tmp_path: Path, env: dict[str, str]
) -> None:
    again = f'exec {sys.executable} {tmp_path / "app.py"} "$@"'
    before = _executable(tmp_path, again)
    code, _, err = run(tmp_path / "app.py", PROGRAM.format(before=before, env=env))
    assert code == 1
    assert "has started this program instead of a node" in err
    # Itself, the node, and the fork server where there is one.
    assert (tmp_path / "starts").read_text() == "started\n" * (2 if env else 3)


@pytest.mark.parametrize("env", [{}, {"LANG": "C"}], ids=["fork server", "node"])
async def test_whatever_was_started_ends_with_the_parent(
    tmp_path: Path, env: dict[str, str]
) -> None:
    before = _executable(tmp_path, "sleep 600 & wait")
    program = start(tmp_path / "app.py", PROGRAM.format(before=before, env=env))
    started: list[psutil.Process] = []
    try:
        parent = psutil.Process(program.pid)
        await eventually(lambda: len(parent.children(recursive=True)) == 2, PATIENCE)
        started = parent.children(recursive=True)
        await eventually(lambda: _bound(started[0].pid), PATIENCE)
        program.kill()
        await eventually(lambda: not any(map(_runs, started)), PATIENCE)
    finally:
        program.kill()
        program.communicate()
        for process in started:
            if process.is_running():
                os.kill(process.pid, signal.SIGKILL)


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _bound(pid: int) -> bool:
    """Return whether the kernel has been told to end it: one of its descriptors has O_ASYNC."""
    flags = [path.read_text().split()[3] for path in Path(f"/proc/{pid}/fdinfo").iterdir()]
    return any(int(octal, 8) & os.O_ASYNC for octal in flags)


def test_python_is_found_to_be_an_interpreter_under_any_name(tmp_path: Path) -> None:
    """A renamed or linked interpreter is one."""
    link = tmp_path / "app"
    link.symlink_to(sys.executable)
    done = subprocess.run(
        [
            str(link),
            "-c",
            "from actors.nodes.boot.launch import interpreter_problem as p; print(p())",
        ],
        env={
            "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *sys.path[1:]])),
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
