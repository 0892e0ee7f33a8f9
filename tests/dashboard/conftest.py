"""Fixtures of the tests of the dashboard: one system, run by the command, for the tests of a file."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.running_command import ROOT, Running, command, environment, running


@pytest.fixture(scope="module")
def system() -> Iterator[Running]:
    """A system with a dashboard, in a process of its own."""
    folder = Path(tempfile.mkdtemp(prefix="actors-admin-"))
    arguments = ("run", "tests.dashboard.served:topology", "--admin", "127.0.0.1:0")
    with running(folder, *arguments, "--admin-host", "ops.example", cwd=ROOT) as started:
        yield started
        sys.stderr.write("\n".join(started.lines))
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def url(system: Running) -> str:
    """The address of the page with its token, as `actors admin` shows it."""
    shown = subprocess.run(
        command("admin"),
        env=environment(system.runtime),
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    return shown.stdout.strip()


@pytest.fixture(scope="module")
def anybody(url: str) -> Iterator[httpx.Client]:
    """A client without the token."""
    with httpx.Client(base_url=url.partition("#")[0], timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def operator(url: str) -> Iterator[httpx.Client]:
    """A client with the token."""
    base, _, token = url.partition("#token=")
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=base, headers=headers, timeout=20, trust_env=False) as client:
        yield client


def lines_of(system: Running, event: str) -> list[dict[str, object]]:
    """Return the log lines of one event so far."""
    return [json.loads(line) for line in system.lines if f'"event": "{event}"' in line]
