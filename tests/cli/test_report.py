"""`actors report`: all that can be known of a system in one file, also when it ends by itself."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from tests.cli.running_command import run_here, running


def test_a_report_has_all_that_can_be_known(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    with running(tmp_path, "run", "topologies:good") as system:
        code, out, err = run_here(system.runtime, "report", "--output", str(file))
        assert (code, out, err) == (0, f"report: {file}\n", "")
        lost, _, error = run_here(system.runtime, "report", "--output", "/nowhere/at/all")
        assert (lost, "/nowhere/at/all" in error) == (1, True)
        printed = json.loads(run_here(system.runtime, "report", "--json")[1])
    found: dict[str, Any] = json.loads(file.read_text())

    assert found.keys() == printed.keys()
    assert found["versions"]["python"]
    assert {node["name"] for node in found["ps"]["nodes"]} >= {"web/0", "web/1"}
    assert "greeter" in json.dumps(found["tree"])
    assert found["top"]["actors"]
    assert "thread MainThread" in json.dumps(found["stacks"]["web/0"]) or found["stacks"]["web/0"]
    assert "system_ready" in [event["kind"] for event in found["events"]]
    assert found["ended_by"] == ""


def test_a_system_that_ends_by_itself_leaves_its_report(tmp_path: Path) -> None:
    with running(tmp_path, "run", "topologies:crashes", ready="") as system:
        line = system.event("report written")
        assert system.process.wait(30) == 1
    path = Path(str(line["path"]))
    found = json.loads(path.read_text())

    assert path.parent.name == "reports"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert found["ended_by"]
    ended = [event for event in found["events"] if event["kind"] == "child_ended"]
    assert "no more paper" in json.dumps(ended)
    assert "Traceback" in json.dumps(ended)
