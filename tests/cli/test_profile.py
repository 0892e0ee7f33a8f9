"""`actors profile`: which functions nodes spend their CPU time in, and the file that shows it."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.cli.client.flame_graph import flame_graph
from tests.cli.running_command import PATIENCE, Running, run_here, running


@pytest.fixture(scope="module")
def system() -> Iterator[Running]:
    folder = Path(tempfile.mkdtemp(prefix="actors-cli-"))
    with running(folder, "run", "profiled:topology") as started:
        yield started
    shutil.rmtree(folder)


def profiled(system: Running, node: str, seconds: str = "0.5") -> dict[str, dict[str, Any]]:
    code, out, err = run_here(system.runtime, "profile", node, seconds, "--json")
    assert code == 0, err
    return {found["name"]: found for found in json.loads(out)["nodes"]}


def until_it_turns(system: Running, node: str) -> dict[str, Any]:
    """Profile a node until it was seen at work: on a busy machine it seldom gets its turn."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = profiled(system, node)[node]
        if seconds_in(found, "turn_the_crank"):
            return found
        assert time.monotonic() < deadline, found


def seconds_in(found: dict[str, Any], function: str) -> float:
    """Return the CPU seconds in which a function was on the stack."""
    wanted = {n for n, (name, _, _) in enumerate(found["frames"]) if name == function}
    total: float = sum(took for _, frames, took in found["stacks"] if wanted.intersection(frames))
    return total


def test_a_node_shows_what_it_computes_and_who_called_it(system: Running) -> None:
    found = until_it_turns(system, "mill/0")

    assert found["samples"]
    stack = next(
        [found["frames"][number][0] for number in frames]
        for _, frames, _ in found["stacks"]
        if "turn_the_crank" in [found["frames"][number][0] for number in frames]
    )
    assert stack.index("Miller.grind") < stack.index("turn_the_crank")


def test_a_node_whose_loop_never_turns_is_profiled_all_the_same(system: Running) -> None:
    found = profiled(system, "spin/0")["spin/0"]

    assert seconds_in(found, "Spinner.spin") > found["cpu"] * 0.8 > 0
    assert seconds_in(found, "StackCounts.sample") == 0  # what takes the samples is not in them


def test_an_idle_node_is_not_woken_by_it(system: Running) -> None:
    found = profiled(system, "idle")["idle/0"]

    assert found["samples"] <= 3


def test_all_nodes_are_profiled_at_once_and_those_that_cannot_be_say_why(system: Running) -> None:
    found = profiled(system, "all")

    assert set(found) == {"mill/0", "idle/0", "spin/0", "rival/0", "thread/0"}
    assert "SIGPROF" in found["rival/0"]["error"]
    assert found["thread/0"]["cpu"] > 0
    assert {thread for thread, _, _ in found["thread/0"]["stacks"]} == {"actors node thread/0"}


def test_after_a_profile_a_node_goes_on_as_before(system: Running) -> None:
    profiled(system, "mill", "0.1")
    assert "miller" in json.dumps(json.loads(run_here(system.runtime, "tree", "--json")[1]))
    assert until_it_turns(system, "mill/0")["cpu"] > 0
    code, out, _ = run_here(system.runtime, "stack", "mill/0")
    assert (code, "thread MainThread" in out) == (0, True)


def test_the_file_is_a_page_that_needs_nothing_else(system: Running, tmp_path: Path) -> None:
    file = tmp_path / "p.html"

    code, out, _ = run_here(system.runtime, "profile", "spin/0", "0.5", "--output", str(file))

    assert code == 0
    assert re.search(r"SELF +TOTAL +FUNCTION", out)
    assert "turn_the_crank" in out
    assert str(file) in out
    page = file.read_text(encoding="utf-8")
    assert "turn_the_crank" in page
    assert not re.search(r"(?:src|href)=", page)
    assert "http" not in page


def test_names_in_a_profile_are_no_markup() -> None:
    evil = "</script><script>alert(1)"
    node = {"name": evil, "kind": "process", "pid": 1, "frames": [[evil, evil, 1]]}
    stacks = [["MainThread", [0], 1.0]]

    page = flame_graph({"nodes": [{**node, "stacks": stacks}]}, evil)

    assert evil not in page
    assert page.count("<script") == 2


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        (["mill/7"], 2, "mill/7"),
        (["mill/0", "0"], 2, "got 0"),
        (["mill/0", "61"], 2, "got 61"),
        (["mill/0", "x"], 2, "'x'"),
        (["mill/0", "nan"], 2, "got nan"),
        (["rival/0", "0.1"], 1, "SIGPROF"),
        (["mill/0", "0.1", "--output", "/nowhere/at/all.html"], 2, "/nowhere/at"),
    ],
)
def test_what_cannot_be_profiled_is_one_clear_error(
    system: Running, arguments: list[str], code: int, says: str
) -> None:
    ended, _, err = run_here(system.runtime, "profile", *arguments)

    assert (ended, says in err) == (code, True), err
