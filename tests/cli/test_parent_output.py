"""What code of the user says in the system's own process is one log, as what nodes in processes say is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.running_command import HERE, PATIENCE, command, environment, running
from tests.cli.test_programs import wait_until

INNER = sys.version_info >= (3, 14)
NODES = ("process/0", "thread/0", "second/0", "inner/0" if INNER else "other/0")


@pytest.mark.within(60)
def test_every_line_of_a_system_of_four_nodes_in_all_kinds_is_a_record(runtime: Path) -> None:
    with running(runtime, "run", "printing_topology:topology") as system:
        for node in NODES:  # after its crash
            system.event("half", node=node)
        system.event("without a newline", node="system")
        assert system.end(signal.SIGTERM) == 0
        records = [json.loads(line) for line in system.lines]  # all of them

    assert all(record["node"] and record["level"] and record["timestamp"] for record in records)
    found = Counter((record["node"], record["level"], record["event"]) for record in records)
    assert found["system", "info", "from C at import"] == 1 + INNER  # by each interpreter
    for node in {"system", "process/0", NODES[3] if INNER else "system"}:
        assert found[node, "info", "printed at import"] == 1
    for node in NODES:
        # Which node C code belongs to can be seen of a process alone.
        outer = node if node == "process/0" else "system"
        for said_by, level, event in (
            (node, "info", "printed"),
            (node, "info", "to stderr"),
            (node, "error", "no ink"),
            (node, "warning", "by the actor"),
            (outer, "info", f"from C of {node}"),
            (outer, "error", f"ERROR: by its number, {node}"),
            (outer, "info", f"to what it was, {node}"),
        ):
            assert found[said_by, level, event] == 2, (said_by, event, found)
        if not node.startswith("inner"):
            assert found[outer, "info", f"from a shell of {node}"] == 2
        said = [record["event"] for record in records if record["node"] == node]
        assert sum(event.count("x") for event in said if "xx" in event) >= 100_000
        assert any(f"UserWarning: old ink of {node}" in event for event in said)
    ends = [record for record in records if record["event"] == "child ended"]
    assert len([one for one in ends if one["traceback"].endswith("ValueError: two\nlines")]) == 4


@pytest.mark.within(60)
def test_what_is_written_past_python_is_among_the_lines_of_actors_logs(runtime: Path) -> None:
    with running(runtime, "run", "printing_topology:topology") as system:
        system.event("half", node=NODES[3])
        done = subprocess.run(
            command("logs", "--json", "-n", "1000"),
            cwd=HERE,
            env=environment(runtime),
            capture_output=True,
            check=True,
            timeout=PATIENCE,
        )
        kept = [json.loads(line) for line in done.stdout.splitlines()]
        said = {(record["node"], record["event"]) for record in kept}
        assert {("system", "from C at import"), (NODES[3], "printed")} <= said
        assert system.end(signal.SIGTERM) == 0


def test_a_long_text_of_c_code_without_newline_is_written_in_parts_and_costs_no_more_than_it_is(
    runtime: Path,
) -> None:
    code = "import os\nfor _ in range(30): os.write(1, b'y' * 10_000)\nimport actors\n"
    (runtime / "writes_much.py").write_text(f"{code}topology = actors.Topology()\n")
    path = f"{runtime}{os.pathsep}{environment(runtime)['PYTHONPATH']}"
    with running(runtime, "run", "writes_much:topology", env={"PYTHONPATH": path}) as system:
        assert system.end(signal.SIGTERM) == 0
        records = [json.loads(line) for line in system.lines]
    events = [record["event"] for record in records if record["event"].startswith("y")]
    assert sum(map(len, events)) == 300_000
    assert len(events) > 5


def test_a_program_that_was_started_there_and_writes_for_ever_does_not_hold_up_the_end(
    runtime: Path,
) -> None:
    code = "import actors, subprocess\nsubprocess.Popen(['yes', 'and on'])\n"
    (runtime / "starts_yes.py").write_text(f"{code}topology = actors.Topology()\n")
    path = f"{runtime}{os.pathsep}{environment(runtime)['PYTHONPATH']}"
    with running(runtime, "run", "starts_yes:topology", env={"PYTHONPATH": path}, ready="") as one:
        one.event("and on", node="system")
        wait_until(one.socket.exists)  # any line may be dropped, also the one that says so
        assert one.end(signal.SIGTERM) == 0


def test_what_the_interpreter_writes_when_the_systems_process_crashes_is_not_lost(
    runtime: Path,
) -> None:
    code = "import ctypes\nctypes.string_at(0)\n"
    (runtime / "crashes.py").write_text(code)
    done = subprocess.run(
        command("run", "crashes:topology"),
        cwd=runtime,
        env={**environment(runtime), "PYTHONPATH": f"{runtime}{os.pathsep}{HERE.parents[1]}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in done.stderr
