"""Autobahn's fuzzing client: all of its sections, against a system with two nodes.

It needs Python 2.7: that of pyenv, or what `PYTHON27` names. It is installed from PyPI into a temporary folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest

from actors import Topology, asgi, listen, nodes
from actors._system.system import coordinator_of
from actors.testing import running_system
from tests.conftest import LOOPS

SECONDS: Final = float(os.environ.get("AUTOBAHN_SECONDS", "7200"))
CASES: Final = os.environ.get("AUTOBAHN_CASES", "*").split(",")
OWN_FAILURES: Final = {
    "7.1.5": "a close between two fragments: the websockets library takes it for a message broken off (1002)",
}
"""What the library that reads the frames does otherwise."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 600)]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: ASGI is served by it."""
    return LOOPS["uvloop"]


def python27() -> str:
    """Return a Python 2.7; skip the test if there is none."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob("2.7.*/bin/python"))
    # A shim of pyenv answers to the name even where it may start none.
    found = os.environ.get("PYTHON27") or next(map(str, pyenv), None) or shutil.which("python2.7")
    if found is None:
        pytest.skip("Autobahn's client needs Python 2.7 (PYTHON27 may name it)")
    return found


def installed(folder: Path) -> Path:
    """Install the client, and return its program."""
    python, tool, home = python27(), folder / "virtualenv", folder / "autobahn"
    own = {**os.environ, "PYTHONPATH": str(tool)}
    pip = ("-m", "pip", "install", "--quiet", "--target", str(tool), "virtualenv<20.22")
    subprocess.run([python, *pip], check=True, timeout=600)
    subprocess.run(
        [python, "-m", "virtualenv", "--quiet", str(home)], env=own, check=True, timeout=600
    )
    install = [str(home / "bin" / "pip"), "install", "--quiet", "autobahntestsuite"]
    subprocess.run(install, check=True, timeout=1200)
    return home / "bin" / "wstest"


def report(client: Path, folder: Path, port: int) -> dict[str, dict[str, Any]]:
    """Run all cases, and return what was made of each."""
    wanted = {
        "outdir": str(folder / "report"),
        "servers": [{"agent": "actors", "url": f"ws://127.0.0.1:{port}"}],
        "cases": CASES,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (folder / "cases.json").write_text(json.dumps(wanted))
    command = [str(client), "-m", "fuzzingclient", "-s", str(folder / "cases.json")]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    index = json.loads((folder / "report" / "index.json").read_text())
    cases: dict[str, dict[str, Any]] = index["actors"]
    return cases


async def test_autobahn_finds_no_fault_but_those_of_the_library(tmp_path: Path) -> None:
    client = await anyio.to_thread.run_sync(installed, tmp_path)
    app = asgi("tests.soak.echo_app:app", lifespan="off")
    topology = Topology(nodes=[nodes("web", count=2)], listeners=[listen(app, "127.0.0.1:0")])
    async with running_system(topology) as system:
        router = coordinator_of(system).listeners[0].router
        assert router is not None
        cases = await anyio.to_thread.run_sync(report, client, tmp_path, router.port)
    print(f"\n{len(cases)} cases: {dict(Counter(case['behavior'] for case in cases.values()))}")  # noqa: T201 - a soak says what it has found
    wrong = {
        name: case
        for name, case in cases.items()
        if "FAILED" in case["behavior"]
        or case["behaviorClose"] in {"FAILED", "WRONG CODE", "UNCLEAN"}
    }
    assert cases
    assert set(wrong) <= set(OWN_FAILURES), wrong
