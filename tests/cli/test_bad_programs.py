"""Programs that misbehave, under `actors run` with a file: nothing of them outlives the system."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.cli.running_command import error_of, run_command, running
from tests.cli.test_programs import wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def file(runtime: Path) -> Callable[..., str]:
    """Write an application file with one program, a line of a shell; return where it is."""

    def write(line: str, *options: str) -> str:
        path = runtime / "actors.toml"
        command = f'command = ["/bin/sh", "-c", {line!r}]'
        path.write_text("\n".join(["[programs.bad]", command, *options, ""]))
        return str(path)

    return write


def test_one_that_ignores_sigterm_is_killed_after_its_time(
    runtime: Path, file: Callable[..., str]
) -> None:
    path = file("trap : TERM; echo deaf; while :; do sleep 0.1; done", "shutdown = 0.3")
    with running(runtime, "run", path) as system:
        system.event("deaf")
        there = psutil.Process(system.event("program started")["pid"])
        assert system.end(signal.SIGTERM) == 0
        assert system.event("shutdown overrun", child="bad/0")["grace"] == 0.3
        assert not there.is_running()


def test_what_one_has_started_ends_with_it(runtime: Path, file: Callable[..., str]) -> None:
    path = file("setsid sleep 86401 & wait")
    with running(runtime, "run", path) as system:
        pid = system.event("program started")["pid"]
        wait_until(lambda: psutil.Process(pid).children())
        (orphan,) = psutil.Process(pid).children()
        wait_until(lambda: os.getsid(orphan.pid) == orphan.pid)  # else it ends with its group
        os.kill(pid, signal.SIGKILL)
        system.event("program left processes")
        wait_until(lambda: not orphan.is_running())
        again = system.event("restart scheduled")
        assert again["child"] == "bad/0"
        assert system.end(signal.SIGTERM) == 0


def test_what_one_writes_without_a_newline_is_a_record(
    runtime: Path, file: Callable[..., str]
) -> None:
    path = file("printf half; printf whole >&2; exec sleep 86400")
    with running(runtime, "run", path) as system:
        assert "stream" not in system.event("half", program="bad/0")
        assert system.event("whole", program="bad/0")["stream"] == "stderr"
        assert system.end(signal.SIGTERM) == 0


def test_one_that_dies_at_once_again_and_again_ends_the_system_when_its_budget_is_spent(
    runtime: Path, file: Callable[..., str]
) -> None:
    path = file(
        "echo the reason >&2; exit 7",
        "budget = { restarts = 2, within = 60 }",
        "[system]",
        "budget = { restarts = 2, within = 60 }",
    )
    with running(runtime, "run", path, ready="budget exceeded") as system:
        assert system.end() == 1
        started = [one for one in system.events if one["event"] == "program started"]
        # Three runs of the program's supervisor, which the system's own budget allows.
        assert len(started) == 9
        assert "the reason" in system.event("child ended", child="bad/0")["exit"]
        assert "bad" in error_of("\n".join(system.lines), "actors run")


def test_one_that_is_not_there_is_an_error_with_its_place(
    runtime: Path, file: Callable[..., str]
) -> None:
    path = Path(file("exit"))
    path.write_text('[programs.bad]\ncommand = ["/nowhere/at/all"]\n')
    done = run_command(runtime, "run", str(path))
    assert done.returncode == 2
    error = error_of(done.stderr, "actors run")
    assert "there is no program '/nowhere/at/all'" in error
    assert f"{path}:2" in error
