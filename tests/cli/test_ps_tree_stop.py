"""`actors ps`, `actors tree` and `actors stop`, with a system that runs and without."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.running_command import (
    HERE,
    PATIENCE,
    Running,
    command as argv,
    environment,
    error_of,
    run_command,
    run_here,
    running,
    sockets,
)


def test_ps_shows_nodes_and_listeners(system: Running) -> None:
    code, out, err = run_here(system.runtime, "ps")
    assert (code, err) == (0, "")
    head, _, titles, first, second, _, _, listener = out.splitlines()
    assert head == f"system {system.pid}"
    shown = ["NODE", "KIND", "STATE", "PID", "RESTARTS", "MEMORY", "ACTORS", "BOOT"]
    assert titles.split() == shown
    for line, name in ((first, "web/0"), (second, "web/1")):
        pid = system.event("node ready", node=name)["pid"]
        assert line.split()[:5] == [name, "process", "READY", str(pid), "0"]
        assert "MiB" in line
        assert line.endswith(" s")
    assert listener.split()[0] == system.event("listening")["address"]
    assert listener.endswith("web/0: 0, web/1: 0")


def test_ps_as_json_has_the_same_facts_for_programs(system: Running) -> None:
    facts = json.loads(run_here(system.runtime, "ps", "--json", "--pid", str(system.pid))[1])
    assert facts["pid"] == system.pid
    assert [node["name"] for node in facts["nodes"]] == ["web/0", "web/1"]
    assert {node["state"] for node in facts["nodes"]} == {"READY"}
    assert all(node["answering"] and node["rss"] > 1024 * 1024 for node in facts["nodes"])
    assert sum(node["actors"] for node in facts["nodes"]) == 2
    (listener,) = facts["listeners"]
    assert listener["accepting"]
    assert listener["open"] == {"web/0": 0, "web/1": 0}


def test_tree_draws_who_supervises_whom(system: Running) -> None:
    code, out, err = run_here(system.runtime, "tree")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "system  (supervisor)  RUNNING"
    assert lines[1] == "├─ nodes  (supervisor)  RUNNING"
    assert lines[2].startswith("│  ├─ web/0  (node, pid ")
    below = [line for line in lines if "deep" in line]
    assert below[0].startswith("│  └─ deep  (Greeter on web/")
    assert lines[-1].startswith("└─ listener 127.0.0.1:0")


def test_tree_as_json_is_the_tree_itself(system: Running) -> None:
    tree = json.loads(run_here(system.runtime, "tree", "--json")[1])
    assert tree["name"] == "system"
    names = [child["name"] for child in tree["children"]]
    assert names == ["nodes", "spawned", "greeter", "inner", "crowd", "listener 127.0.0.1:0"]


def test_output_that_nobody_reads_is_no_traceback(system: Running) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        argv("tree"),
        cwd=HERE,
        env=environment(system.runtime),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (1, "")


def test_a_node_that_died_and_one_that_hangs_are_shown_as_such(runtime: Path) -> None:
    with running(runtime, "run", "topologies:small", "--nodes", "web=2") as system:
        # Nodes start beside each other: either may be ready first.
        dead, hung = (system.event("node ready", node=f"web/{n}")["pid"] for n in range(2))
        os.kill(dead, signal.SIGKILL)
        system.event("node ready", node="web/0", restarts=1)
        os.kill(hung, signal.SIGSTOP)
        first, second = run_here(runtime, "ps")[1].splitlines()[3:5]
        assert first.split()[4] == "1"
        assert "MiB" in first
        assert "not answering" in second
        line = run_here(runtime, "tree")[1].splitlines()[2]
        assert "restarts: 1  last exit: CRASHED" in line
        assert "killed by SIGKILL" in line
        os.kill(hung, signal.SIGCONT)
        assert system.end(signal.SIGTERM) == 0


def test_of_several_systems_one_is_chosen_by_its_pid_and_stop_returns_when_it_is_gone(
    runtime: Path,
) -> None:
    with (
        running(runtime, "run", "topologies:small", ready="") as one,
        running(runtime, "run", "topologies:small") as other,
    ):
        one.event("control socket")
        code, _, err = run_here(runtime, "ps")
        assert code == 2
        lines = error_of(err, "actors ps").splitlines()
        assert lines[0] == "2 systems are running; choose one:"
        assert {line.split()[1] for line in lines[1:]} == {str(one.pid), str(other.pid)}
        assert all("topologies:small" in line for line in lines[1:])
        _, out, _ = run_here(runtime, "stop", "--json", "--pid", str(one.pid))
        assert json.loads(out) == {"pid": one.pid, "stopped": True}
        assert one.process.poll() == 0
        assert other.process.poll() is None
        run = run_command(runtime, "stop")
        assert (run.returncode, run.stdout) == (0, f"system {other.pid} has stopped\n")
        assert other.process.poll() == 0
        for system in (one, other):
            system.end()
            assert system.event("node ended")["why"] == "exit code 0"
            assert system.nodes_have_ended()
        assert sockets(runtime) == []


@pytest.mark.parametrize("command", ["ps", "tree", "stop"])
def test_where_nothing_runs_that_is_said_with_exit_code_3(runtime: Path, command: str) -> None:
    message = f"no system of yours is running (looked in {runtime}/actors)"
    assert run_here(runtime, command) == (3, "", f"actors {command}: error: {message}\n")


def test_a_pid_without_a_system_is_named_beside_those_that_run(system: Running) -> None:
    code, _, err = run_here(system.runtime, "ps", "--pid", "1")
    assert code == 3
    message = error_of(err, "actors ps")
    assert message == f"no system runs in process 1; running: {system.pid}"
