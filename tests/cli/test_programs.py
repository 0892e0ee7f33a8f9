"""Programs under the command line: shown, changed, heard, and ended with the system however that ends."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.cli.running_command import PATIENCE, run_command, run_here, running

pytestmark = pytest.mark.usefixtures("no_leaks")


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_programs_are_shown_beside_nodes_and_changed_by_the_same_commands(runtime: Path) -> None:
    with running(runtime, "run", "program_topologies:good") as system:
        _, shown, _ = run_here(runtime, "ps", "--json")
        programs = {one["name"]: one for one in json.loads(shown)["programs"]}
        assert {name: one["port"] for name, one in programs.items()} == {
            "cache/0": None,
            "api/0": 3000,
            "api/1": 3001,
        }
        assert all(one["rss"] > 0 for one in programs.values())
        _, tree, _ = run_here(runtime, "tree")
        assert f"api/1  (program, pid {programs['api/1']['pid']}, port 3001)  READY" in tree
        _, top, _ = run_here(runtime, "top", "--once", "--interval", "0.2", "--json")
        assert {one["name"] for one in json.loads(top)["programs"]} == set(programs)

        assert run_here(runtime, "scale", "api=3")[1] == "api: api/0, api/1, api/2\n"
        code, said, _ = run_here(runtime, "reload", "api")
        assert (code, len(said.splitlines())) == (0, 3)
        assert "api/0  program  pid" in said
        assert run_here(runtime, "restart", "cache/0")[1] == "restarted cache/0\n"
        assert run_here(runtime, "kill", "api/2")[1] == "killed api/2\n"
        system.event("program started", program="api/2")
        assert run_here(runtime, "stop", "api")[1] == "stopped api/0, api/1, api/2\n"
        code, _, error = run_here(runtime, "scale", "api=2")
        assert (code, "there is no group of nodes 'api'" in error) == (2, True)
        code, _, error = run_here(runtime, "restart", "api")
        assert (code, "called 'api'; the programs are 'cache'\n" in error) == (2, True)
        assert run_here(runtime, "stop", "cache/0")[1] == "stopped cache/0\n"
        assert run_here(runtime, "kill", "cache")[1] == "killed nothing: it has no instances\n"
        assert run_here(runtime, "reload", "cache")[1] == "nothing: there is none\n"
        assert run_here(runtime, "scale", "cache=0")[1] == "cache: none\n"
        assert run_here(runtime, "stop", "cache")[1] == "stopped cache\n"
        assert system.end(signal.SIGTERM) == 0


def test_lines_of_programs_are_records_with_their_names(runtime: Path) -> None:
    with running(runtime, "run", "program_topologies:good") as system:
        line = system.event('"one" of many', program="api/1")
        assert line["level"] == "info"
        assert system.event("warned", program="api/0")["stream"] == "stderr"
        # It has no newline, and the program goes on.
        system.event("no newline", program="api/0")
        started = system.event("program started", program="cache/0")
        assert "1 CPUs by" in started["limits"]


def test_a_system_whose_program_does_not_start_says_why_in_one_line(runtime: Path) -> None:
    done = run_command(runtime, "run", "program_topologies:doomed")
    assert done.returncode == 1
    assert "api/0 ended before it was ready: exit code 1" in done.stderr


@pytest.mark.parametrize(
    "megabytes",
    [pytest.param(5, id="5 MB"), pytest.param(100, id="100 MB", marks=pytest.mark.soak)],
)
def test_a_flood_of_log_costs_bounded_memory_and_no_line_is_longer_than_64_kib(
    runtime: Path, megabytes: int
) -> None:
    env = {"FLOOD_MB": str(megabytes)}
    # Any line may be dropped, also the one that says that it is ready.
    with running(runtime, "run", "program_topologies:flooding", env=env, ready="") as system:
        assert system.process.stderr is not None
        process, most, longest, rest, seen = psutil.Process(system.pid), 0, 0, b"", 0
        while b'"event": "done"' not in rest:
            data = os.read(system.process.stderr.fileno(), 1 << 20)
            assert data, "the system has ended"
            *lines, rest = (rest + data).split(b"\n")
            longest = max([longest, *map(len, lines)])
            seen += len(lines)
            most = max(most, process.memory_info().rss)
            if any(b'"event": "done"' in line for line in lines):
                break
        assert seen > 1000
        assert longest <= 64 * 1024
        assert most < 150 << 20
        system._unread = rest
        assert system.end(signal.SIGTERM) == 0


def test_what_a_program_leaves_behind_is_adopted_and_ended_with_it(runtime: Path) -> None:
    with running(runtime, "run", "program_topologies:leaving") as system:
        process = psutil.Process(system.pid)
        wait_until(lambda: _sleeper(process) is not None)
        left = _sleeper(process)
        assert left is not None
        assert left.ppid() == system.pid
        (daemon,) = [child for child in process.children() if child != left]
        os.kill(daemon.pid, signal.SIGKILL)
        system.event("program left processes", ended=f"sleep ({left.pid})")
        wait_until(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE)
        # It was adopted, and so is reaped here.
        wait_until(lambda: not left.is_running())
        assert system.end(signal.SIGTERM) == 0


def test_programs_end_when_the_systems_process_is_killed(runtime: Path) -> None:
    with running(runtime, "run", "program_topologies:good") as system:
        there = psutil.Process(system.pid).children(recursive=True)
        assert len(there) >= 3
        system.process.kill()
        psutil.wait_procs(there, timeout=PATIENCE)
        assert not any(child.is_running() for child in there)


def _sleeper(process: psutil.Process) -> psutil.Process | None:
    found = [child for child in process.children() if child.name() == "sleep"]
    return found[0] if found else None
