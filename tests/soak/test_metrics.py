"""Prometheus' own `promtool` finds nothing to say about the metrics of a running system."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.cli.running_command import ROOT, running

PROMTOOL = shutil.which("promtool")

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed"),
]


def test_promtool_accepts_the_metrics(tmp_path: Path) -> None:
    topology = "tests.dashboard.served:topology"
    with running(tmp_path, "run", topology, "--admin", "127.0.0.1:0", cwd=ROOT) as system:
        address = system.event("listening", listener="admin")["address"]
        metrics = httpx.get(f"http://{address}/metrics", trust_env=False).content

    done = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=metrics, capture_output=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
