"""`actors logs` prints the last lines of the log and those that follow; who reads too slowly is told."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors._base.log_ring import LogRing
from actors.cli.client.text import as_log_line, as_raw_line
from tests.cli.running_command import (
    HERE,
    PATIENCE,
    Running,
    command,
    environment,
    run_here,
    running,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    runtime = tmp_path_factory.mktemp("runtime")
    with running(runtime, "run", "asked:topology") as system:
        yield system


def test_the_last_lines_are_printed_for_people_and_for_programs(shop: Running) -> None:
    code, out, err = run_here(shop.runtime, "logs")
    assert (code, err) == (0, "")
    (ready,) = [line for line in out.splitlines() if "system ready" in line]
    assert ready.split()[1:4] == ["info", "system", "system"]
    code, out, err = run_here(shop.runtime, "logs", "--json", "-n", "3")
    records = [json.loads(line) for line in out.splitlines()]
    assert (code, err, len(records)) == (0, "", 3)
    assert records[-1]["event"] == "control socket"
    assert [json.dumps(record) for record in records] == [
        json.dumps(json.loads(line)) for line in shop.lines[-3:]
    ]


def test_a_node_a_group_or_the_system_itself_may_be_chosen(shop: Running) -> None:
    shop.event("node ready", node="a/0")
    for name, node in (("a/0", "a/0"), ("a", "a/0"), ("system", "system")):
        code, out, err = run_here(shop.runtime, "logs", name, "--json")
        assert (code, err) == (0, "")
        assert {json.loads(line)["node"] for line in out.splitlines()} == {node}


@pytest.mark.parametrize(
    "words, problem",
    [
        (["nobody/0"], "the log has no lines of 'nobody/0', and no node is called so"),
        (["-n", "-1"], "lines must be 0 to 1000000, got -1"),
    ],
)
def test_what_cannot_be_shown_is_one_error(words: list[str], problem: str, shop: Running) -> None:
    code, out, err = run_here(shop.runtime, "logs", *words)
    assert (code, out) == (2, "")
    assert err == f"actors logs: error: {problem}\n"


def test_lines_are_followed_until_the_system_has_ended(tmp_path: Path) -> None:
    with running(tmp_path, "run", "asked:topology") as system:
        follower = subprocess.Popen(
            command("logs", "-f", "-n", "1"),
            cwd=HERE,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert follower.stdout is not None
        with follower.stdout:
            assert "control socket" in follower.stdout.readline()
            code, _, err = run_here(tmp_path, "kill", "a/0")
            assert (code, err) == (0, "")
            seen = ""
            while "node ready" not in seen:
                seen = follower.stdout.readline()
                assert seen
            assert system.end(signal.SIGTERM) == 0
            assert follower.wait(PATIENCE) == 0


def test_who_reads_too_slowly_misses_the_oldest_lines_and_gets_their_number() -> None:
    ring = LogRing(most=1000)
    ring.add("web/0", ["x" * 99 for _ in range(5)])
    found, position, lost = ring.after(0, 100)
    assert (len(found), position, lost) == (5, 5, 0)
    ring.add("web/1", [f"{number:099}" for number in range(50)])
    found, position, lost = ring.after(position, 4)
    assert (len(found), position, lost) == (4, 49, 40)
    assert found[0] == ("web/1", f"{40:099}")
    found, position, lost = ring.after(position, 100)
    assert (len(found), position, lost) == (6, 55, 0)
    assert ring.after(position, 100) == ([], 55, 0)


def test_a_record_is_one_line_for_people_with_its_traceback_below() -> None:
    record = {
        "timestamp": "2026-11-30T10:00:00Z",
        "level": "error",
        "event": "child\x1b ended",
        "node": "web/0",
        "child": "a b",
        "traceback": "Traceback\n  File x\nValueError",
    }
    assert as_log_line(json.dumps(record)) == (
        '2026-11-30T10:00:00Z  error     web/0  child\\x1b ended  child="a b"\n'
        "    Traceback\n      File x\n    ValueError"
    )
    for line in ("2026 [info] for a terminal", "[1]"):
        assert as_log_line(line) == line
        assert json.loads(as_raw_line(line)) == {"line": line}
