"""`actors top`, `actors events` and `actors stack`: a system at work, and one that hangs."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running_command import (
    HERE,
    PATIENCE,
    Running,
    command,
    environment,
    error_of,
    run_here,
    running,
)


@pytest.fixture(scope="module")
def working() -> Iterator[Running]:
    """A system with something to see, for all tests that leave it as it is."""
    folder = Path(tempfile.mkdtemp(prefix="actors-cli-"))
    with running(folder, "run", "topologies:working") as started:
        yield started
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def hanging() -> Iterator[Running]:
    """A system of which every node hangs."""
    folder = Path(tempfile.mkdtemp(prefix="actors-cli-"))
    with running(folder, "run", "topologies:hanging") as started:
        for group in ("uv", "aio", "tri", "thr"):
            started.event("hogging", node=f"{group}/0")
        yield started
    shutil.rmtree(folder)


def test_doctor_says_what_should_be_done_of_a_system_that_hangs(hanging: Running) -> None:
    code, out, _ = run_here(hanging.runtime, "doctor", "1")
    assert code == 0
    assert "uv/0: see where it stands: actors stack uv/0\n  " in out
    assert re.search(r"\(hog\) has kept its loop for \d+\.\d s", out) is not None


def test_doctor_leaves_a_system_alone_that_is_well(working: Running) -> None:
    code, out, _ = run_here(working.runtime, "doctor", "0.5", "--json")
    assert code == 0
    found = json.loads(out)
    assert {"about", "what", "why"} == set(found[0])
    code, _, err = run_here(working.runtime, "doctor", "301")
    assert (code, error_of(err, "actors doctor")) == (
        2,
        "SECONDS is above 0 and at most 300, got 301.0",
    )


def follower(runtime: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start a command that goes on until it is ended."""
    return subprocess.Popen(
        command(*arguments),
        cwd=HERE,
        env=environment(runtime),
        stderr=subprocess.PIPE,
        text=True,
        **{"stdout": subprocess.PIPE, **options},
    )


def said(process: subprocess.Popen[str], text: str) -> list[str]:
    """Read lines up to one with *text*."""
    assert process.stdout is not None
    lines: list[str] = []
    while text not in (lines or [""])[-1]:
        line = process.stdout.readline()
        assert line, f"no {text!r} in {lines}"
        lines.append(line.rstrip("\n"))
    return lines


def the_rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what is still to come of both, up to the end; `communicate` passes over what a line read ahead."""
    assert process.stdout is not None
    assert process.stderr is not None
    rest, err = process.stdout.read(), process.stderr.read()
    process.wait(PATIENCE)
    return rest, err


# -- top -------------------------------------------------------------------------------------


def test_top_shows_nodes_and_the_busiest_actors_first(working: Running) -> None:
    code, out, err = run_here(working.runtime, "top", "--once", "--interval", "0.2")
    assert (code, err) == (0, "")
    head, _, titles, web, far, _, columns, first, *others = out.splitlines()
    assert head.startswith(f"system {working.pid}: 2 nodes, 7 actors, ")
    assert titles.split() == (
        ["NODE", "KIND", "STATE", "PID", "RESTARTS", "MEMORY", "CPU", "LAG", "ACTORS", "MESSAGES/S"]
    )
    pid = str(working.event("node ready", node="web/0")["pid"])
    assert web.split()[:5] == ["web/0", "process", "READY", pid, "0"]
    assert web.split()[-2:] == ["5", "0.0"]
    assert far.split()[:4] == ["far/0", "thread", "READY", str(working.pid)]
    assert columns.split() == [
        *["ACTOR", "CLASS", "NODE", "MAILBOX", "MESSAGES/S", "CPU", "HANDLING", "WAITS-FOR"],
        "RESTARTS",
    ]
    # Two messages and the question of the asker wait behind the one that is handled for ever.
    assert first.split()[:5] == ["holder", "Holder", "web/0", "3", "0.0"]
    assert first.split()[7] == "hold"
    asker = next(line.split() for line in others if line.startswith("asker"))
    assert (*asker[3:5], asker[7]) == ("0", "0.0", "begin")
    assert asker[-2:] == ["holder", "0"]


def test_top_as_json_has_the_same_facts_and_as_many_rows_as_asked_for(working: Running) -> None:
    options = ("--json", "--interval", "0.1", "--rows", "1", "--sort", "handling")
    facts = json.loads(run_here(working.runtime, "top", "--once", *options)[1])
    assert [node["name"] for node in facts["nodes"]] == ["web/0", "far/0"]
    assert all(node["answering"] and node["lag"] >= 0 for node in facts["nodes"])
    (row,) = facts["actors"]
    assert row["handling_seconds"] > 0
    assert row["name"] in {"holder", "asker"}


def test_top_goes_on_in_plain_text_until_ctrl_c(working: Running) -> None:
    with follower(working.runtime, "top", "--interval", "0.05") as process:
        for _ in range(3):
            said(process, f"system {working.pid}")
        lines = said(process, "holder")
        process.send_signal(signal.SIGINT)
        rest, err = the_rest(process)
    assert (process.returncode, err) == (130, "")
    assert "\x1b" not in "".join([*lines, rest])


def test_top_refreshes_a_terminal_and_keeps_to_its_width(working: Running) -> None:
    ours, theirs = pty.openpty()
    shape = {"COLUMNS": "30", "LINES": "6"}
    process = subprocess.Popen(
        command("top", "--plain", "--interval", "0.05"),
        cwd=HERE,
        env=environment(working.runtime, **shape),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    got = b""
    deadline = time.monotonic() + PATIENCE
    while got.count(b"\x1b[H\x1b[J") < 3:
        assert select.select([ours], [], [], deadline - time.monotonic())[0], got
        got += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    os.close(ours)
    table = got.split(b"\x1b[H\x1b[J")[1].decode().splitlines()
    assert len(table) == 5
    assert max(map(len, table)) == 30


@pytest.mark.parametrize(
    "arguments,why",
    [
        (("--interval", "0"), "seconds must be 0.01 to 60, got 0.0"),
        (("--interval", "nan"), "seconds must be 0.01 to 60, got nan"),
        (("--rows", "-1"), "rows must be 0 to 1000, got -1"),
    ],
    ids=["no time", "no number", "less than nothing"],
)
def test_top_refuses_what_can_never_work(
    working: Running, arguments: tuple[str, ...], why: str
) -> None:
    code, out, err = run_here(working.runtime, "top", "--once", *arguments)
    assert (code, out, error_of(err, "actors top").strip()) == (2, "", why)


# -- events ----------------------------------------------------------------------------------


def test_events_are_followed_one_line_each_until_the_system_has_ended(runtime: Path) -> None:
    with (
        running(runtime, "run", "topologies:small") as system,
        follower(runtime, "events") as plain,
        follower(runtime, "events", "--json") as for_programs,
    ):
        assert plain.stderr is not None
        assert for_programs.stderr is not None
        following = f"following system {system.pid}; Ctrl-C ends this\n"
        assert plain.stderr.readline() == for_programs.stderr.readline() == following
        assert run_here(runtime, "kill", "web/0")[0] == 0
        lines = said(plain, "node_ready")
        assert system.end(signal.SIGTERM) == 0
        rest, err = the_rest(plain)
        lines += rest.splitlines()
        out, other = the_rest(for_programs)
    assert err == other == f"system {system.pid} has ended\n"
    assert plain.returncode == for_programs.returncode == 0
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["kind"] for event in events] == [line.split()[1] for line in lines]
    assert events[-1]["kind"] == "system_stopped"
    died = next(event for event in events if event["kind"] == "node_died")
    why = "killed by SIGKILL, as `actors kill` asked"
    assert died["facts"] == {"node": "web/0", "why": why}
    assert f'{died["at"]}  node_died  node=web/0 why="{why}"' in lines
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)


def test_events_end_by_ctrl_c_without_a_word(working: Running) -> None:
    with follower(working.runtime, "events") as process:
        assert process.stderr is not None
        assert "following" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert the_rest(process) == ("", "")
    assert process.returncode == 130
    assert run_here(working.runtime, "ps")[0] == 0


# -- stack, and what hangs --------------------------------------------------------------------


def test_the_stacks_of_a_node_at_peace_are_facts_for_programs(working: Running) -> None:
    facts = json.loads(run_here(working.runtime, "stack", "web/0", "--json")[1])
    assert (facts["name"], facts["kind"], facts["state"]) == ("web/0", "process", "READY")
    assert "MainThread" in {thread["thread"] for thread in facts["threads"]}
    tasks = {name: task["stack"] for task in facts["tasks"] for name in task["names"]}
    assert any(" in hold" in frame for frame in tasks["actor holder"])
    assert any(" in begin" in frame for frame in tasks["actor asker"])
    # Three generations at the same place.
    same = next(task for task in facts["tasks"] if "actor eve" in task["names"])
    assert same["count"] == 3


def test_a_process_that_is_stopped_cannot_be_looked_into_and_says_so(working: Running) -> None:
    pid = working.event("node ready", node="web/0")["pid"]
    os.kill(pid, signal.SIGSTOP)
    code, out, err = run_here(working.runtime, "stack", "web/0")
    assert (code, out) == (1, "")
    why = "it is stopped by a signal, as SIGSTOP does"
    message = f"node web/0 (pid {pid}) cannot be inspected: {why}"
    assert error_of(err, "actors stack").strip() == message
    tree = run_here(working.runtime, "tree")[1].splitlines()
    assert tree[2].endswith(f"web/0  (node, pid {pid})  RUNNING  not answering")
    os.kill(pid, signal.SIGCONT)
    # What was run_here before does not end it, and is not taken for the answer to what is run_here now.
    assert json.loads(run_here(working.runtime, "stack", "web/0", "--json")[1])["tasks"]


@pytest.mark.parametrize("verb", ["stack", "kill"])
def test_a_node_that_is_not_there_is_named_beside_those_that_are(
    working: Running, verb: str
) -> None:
    code, out, err = run_here(working.runtime, verb, "wbe/0")
    assert (code, out) == (2, "")
    there = "the nodes are web/0, far/0; did you mean 'web/0'?"
    assert error_of(err, f"actors {verb}").strip() == f"there is no node 'wbe/0'; {there}"


def test_children_of_actors_are_drawn_under_them(working: Running) -> None:
    lines = run_here(working.runtime, "tree")[1].splitlines()
    eve = next(number for number, line in enumerate(lines) if "eve  (Mother on web/0)" in line)
    assert lines[eve + 1].startswith("│  └─ eve's  (Mother on web/0)  RUNNING")
    assert lines[eve + 2].startswith("│     └─ eve's's  (Mother on web/0)  RUNNING")
    assert "   ada's  (Mother on far/0)  RUNNING" in "\n".join(lines).replace("└─", " ")


@pytest.mark.parametrize("group", ["uv", "aio", "tri"])
def test_the_stacks_of_a_process_that_hangs_are_shown_with_those_of_its_tasks(
    hanging: Running, group: str
) -> None:
    code, out, err = run_here(hanging.runtime, "stack", f"{group}/0")
    assert (code, err) == (0, "")
    head, *parts = out.split("\n\n")
    pid = hanging.event("node ready", node=f"{group}/0")["pid"]
    assert head == f"node {group}/0 (process, pid {pid}), READY"
    main = next(part for part in parts if part.startswith("thread MainThread\n")).splitlines()
    assert re.fullmatch(r'  File ".*topologies.py", line \d+ in hog', main[1])
    idle = next(part for part in parts if part.startswith(f"task actor idle-{group}\n"))
    assert ("in take" if group == "tri" else "parked: it waits for a message") in idle
    hog = next(part for part in parts if part.startswith(f"task actor hog-{group}\n"))
    assert "it runs now: see its thread" in hog


def test_of_a_thread_that_hangs_its_own_stack_is_shown(hanging: Running) -> None:
    code, out, err = run_here(hanging.runtime, "stack", "thr/0")
    assert (code, err) == (0, "")
    assert "thread actors node thr/0\n" in out
    assert " in hog\n" in out
    assert "its tasks cannot be shown: its loop does not get to it" in out


def test_top_shows_nodes_that_hang_by_what_the_kernel_knows(hanging: Running) -> None:
    out = run_here(hanging.runtime, "top", "--once", "--interval", "0.3")[1]
    rows = {
        line.split()[0]: line for line in out.splitlines() if "/0 " in line and "process" in line
    }
    for group in ("uv", "aio", "tri"):
        assert "not answering" in rows[f"{group}/0"]
        assert " MiB " in rows[f"{group}/0"]
    spinning, sleeping = (int(rows[f"{on}/0"].split()[7]) for on in ("aio", "uv"))
    assert spinning > sleeping


def test_top_shows_what_blocks_a_node_and_its_actors_as_the_parent_knows_them(
    hanging: Running,
) -> None:
    facts = json.loads(run_here(hanging.runtime, "top", "--once", "--json", "--interval", "0.2")[1])
    for node in facts["nodes"]:
        group = node["name"].partition("/")[0]
        block = node["blocked"]
        assert (block["actor"], block["message"]) == (f"hog-{group}", "hog")
        since = datetime.fromisoformat(block["since"])
        assert 0 < block["seconds"] <= (datetime.now(UTC) - since).total_seconds()
        assert (node["answering"], node["actors"]) == (False, 2)
        rows = [row for row in facts["actors"] if row["node"] == node["name"]]
        assert [row["name"] for row in rows] == [f"hog-{group}", f"idle-{group}"]
        assert [row["class"] for row in rows] == ["topologies:Hog", "topologies:Greeter"]
        assert [row["handling"] for row in rows] == ["hog", None]
        assert {(row["mailbox"], row["rate"], row["restarts"]) for row in rows} == {(None, None, 0)}
    out = run_here(hanging.runtime, "top", "--once", "--interval", "0.2")[1]
    assert re.search(
        r"^aio/0 is blocked by hog-aio \(hog\): \d.* s, since 20\S+Z$", out, re.MULTILINE
    )
