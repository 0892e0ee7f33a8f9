"""`actors spawn`, `scale`, `kill` and `stop NODE`: other nodes for a system that runs."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import ActorsError, Backoff, Topology, nodes
from actors._system.control.operations import OPERATIONS
from actors._system.system import coordinator_of
from actors.testing import running_system
from tests.cli.running_command import PATIENCE, Running, error_of, run_here


@pytest.fixture(autouse=True)
def _two_web_nodes(system: Running) -> Iterator[None]:
    """The system of the file is as it was again after each test."""
    yield
    groups = {node["name"].partition("/")[0] for node in shown(system)} - {"web"}
    code, _, err = run_here(system.runtime, "scale", "web=2", *(f"{group}=0" for group in groups))
    assert (code, err) == (0, "")


def shown(system: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run_here(system.runtime, "ps", "--json")[1])["nodes"]
    return found


def names(system: Running) -> list[str]:
    return [node["name"] for node in shown(system)]


def fails(system: Running, *arguments: str) -> tuple[int, str]:
    code, out, err = run_here(system.runtime, *arguments)
    assert out == ""
    return code, error_of(err, f"actors {arguments[0]}")


def test_spawn_adds_a_group_that_ps_and_tree_show(system: Running) -> None:
    code, out, err = run_here(
        system.runtime, "spawn", "extra", "--count", "2", "--env", "A=b=c", "--nice", "1"
    )
    assert (code, err) == (0, "")
    pids = [system.event("node ready", node=f"extra/{n}")["pid"] for n in range(2)]
    assert [line.split() for line in out.splitlines()] == [
        [f"extra/{n}", "process", "pid", str(pids[n]), "READY"] for n in range(2)
    ]
    assert names(system) == ["web/0", "web/1", "extra/0", "extra/1"]
    tree = run_here(system.runtime, "tree")[1].splitlines()
    assert f"│  └─ extra/1  (node, pid {pids[1]})  RUNNING" in tree
    environment = Path(f"/proc/{pids[0]}/environ").read_bytes().split(b"\0")
    assert b"A=b=c" in environment


def test_spawn_as_json_has_the_facts_of_each_node(system: Running) -> None:
    code, out, _ = run_here(
        system.runtime, "spawn", "threads", "--kind", "thread", "--backend", "trio", "--json"
    )
    assert code == 0
    assert json.loads(out) == [
        {"name": "threads/0", "kind": "thread", "state": "READY", "pid": system.pid}
    ]


def test_scale_changes_several_groups_and_their_nodes_serve(system: Running) -> None:
    assert run_here(system.runtime, "spawn", "more", "--kind", "thread")[0] == 0
    code, out, err = run_here(system.runtime, "scale", "web=3", "more=2")
    assert (code, err) == (0, "")
    assert out == "web: web/0, web/1, web/2\nmore: more/0, more/1\n"
    (listener,) = json.loads(run_here(system.runtime, "ps", "--json")[1])["listeners"]
    assert listener["open"] == {"web/0": 0, "web/1": 0, "web/2": 0}
    host, _, port = listener["address"].partition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
    groups = json.loads(run_here(system.runtime, "scale", "--json", "web=1", "more=0")[1])
    assert [node["name"] for node in groups["web"]] == ["web/0"]
    assert groups["more"] == []
    assert run_here(system.runtime, "scale", "more=0")[1] == "more: none\n"


def test_stop_ends_one_node_for_good_and_the_system_runs_on(system: Running) -> None:
    assert run_here(system.runtime, "stop", "web/1") == (0, "node web/1 has stopped\n", "")
    assert names(system) == ["web/0"]
    assert system.process.poll() is None
    run_here(system.runtime, "spawn", "brief", "--kind", "thread")
    facts = json.loads(run_here(system.runtime, "stop", "brief/0", "--json")[1])
    assert facts == {"name": "brief/0", "kind": "thread", "state": "EXITED", "pid": None}


def test_kill_has_a_node_restarted(system: Running) -> None:
    run_here(system.runtime, "spawn", "victim")
    pid = system.event("node ready", node="victim/0", restarts=0)["pid"]
    code, out, err = run_here(system.runtime, "kill", "victim/0")
    assert (code, err) == (0, "")
    assert out == "node victim/0 was killed; its supervisor restarts it\n"
    again = system.event("node ready", node="victim/0", restarts=1)["pid"]
    assert again != pid
    facts = json.loads(run_here(system.runtime, "kill", "victim/0", "--json")[1])
    assert facts == {"name": "victim/0", "kind": "process", "state": "READY", "pid": again}


@pytest.mark.parametrize(
    "arguments,message",
    [
        (
            ["spawn", "web"],
            "there is a group of nodes 'web' already; more of its nodes: scale('web', ...)",
        ),
        (["spawn", "a/b"], "a group of nodes is named with letters, digits, - and _; got 'a/b'"),
        (["spawn", "x", "--count", "0"], "nodes('x'): count must be 1 to 1024, got 0"),
        (["spawn", "x", "--env", "A"], "--env must be NAME=VALUE, got 'A'"),
        (["scale", "wbe=2"], "there is no group of nodes 'wbe'; the groups are 'web'"),
        (["scale", "web"], "a number of nodes is GROUP=COUNT such as web=4, got 'web'"),
        (["scale", "web=-1"], "a number of nodes is GROUP=COUNT such as web=4, got 'web=-1'"),
        (["scale", "web=1", "web=2"], "web has one number of nodes, got 'web=2' after another"),
        (["scale", "web=1", "wbe=2"], "there is no group of nodes 'wbe'; the groups are 'web'"),
        (["scale", "web=0"], "web=0 leaves nobody to serve 127.0.0.1:0"),
        (
            ["stop", "web/7"],
            "there is no node 'web/7'; the nodes are web/0, web/1; did you mean 'web/1'?",
        ),
        (["kill", "zzz"], "no actor and no node is called 'zzz'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_error_with_exit_code_2_and_changes_nothing(
    system: Running, arguments: list[str], message: str
) -> None:
    code, error = fails(system, *arguments)
    assert code == 2
    # Groups that other tests have added and scaled to nothing are known, too.
    assert error.startswith(message.partition("; the groups are")[0])
    assert names(system) == ["web/0", "web/1"]


def test_words_that_are_no_kind_of_node_are_shown_with_those_that_are(system: Running) -> None:
    code, error = fails(system, "spawn", "x", "--kind", "thraed")
    assert code == 2
    # Python 3.15 puts a guess between the two.
    assert "invalid choice: 'thraed'" in error
    assert all(kind in error.partition("choose from ")[2] for kind in ("process", "thread"))


def test_nodes_that_do_not_boot_are_an_error_with_exit_code_1_and_none_is_left(
    system: Running,
) -> None:
    code, error = fails(system, "spawn", "x", "--count", "2", "--env", "DIE=1")
    assert code == 1
    assert "failed to boot: exit code 3" in error
    assert names(system) == ["web/0", "web/1"]


@pytest.mark.parametrize(
    "words", [["spawn", "x"], ["scale", "x=1"], ["kill", "x/0"], ["stop", "x/0"]]
)
def test_where_nothing_runs_that_is_said_with_exit_code_3(runtime: Path, words: list[str]) -> None:
    message = f"no system of yours is running (looked in {runtime}/actors)"
    assert run_here(runtime, *words) == (3, "", f"actors {words[0]}: error: {message}\n")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_node_that_is_down_is_not_killed_again() -> None:
    slowly = Backoff(first=600, cap=600, jitter=0)
    topology = Topology(nodes=[nodes("web", kind="thread", backoff=slowly)])
    async with running_system(topology) as running:
        core, kill = coordinator_of(running), OPERATIONS["kill"].run
        events = running.events()
        for wanted in ("node_ready", "restart_scheduled"):  # the first restart is at once
            await kill(core, node="web/0")
            with anyio.fail_after(PATIENCE):
                async for event in events:
                    if event.kind == wanted and event.facts.get("delay") != 0:
                        break
        told = "node web/0 is not running: it is EXITED, as it has ended: its thread ended"
        with pytest.raises(ActorsError, match=f"^{told}$"):
            await kill(core, node="web/0")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="3.14 has interpreters")
def test_interpreters_are_refused_where_python_has_none(system: Running) -> None:
    _, error = fails(system, "spawn", "x", "--kind", "interpreter")
    assert "kind='interpreter' needs Python 3.14 or later" in error
