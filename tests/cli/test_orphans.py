"""As pid 1 of a container, the command reaps the programs that its nodes leave behind, and nothing else."""

import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from actors.testing import eventually
from tests.cli.running_command import HERE, PATIENCE, command, environment
from tests.namespaces import why_no_namespaces

UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
WHY_NOT = why_no_namespaces(*UNSHARE[1:])
pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "none"),
]


@pytest.fixture
def anyio_backend() -> str:
    """One loop: the test only waits in it."""
    return "asyncio"


async def test_as_pid_1_it_reaps_what_its_nodes_leave_behind(runtime: Path) -> None:
    log = runtime / "log"
    outer = _as_pid_1(runtime, log)
    try:
        await eventually(lambda: "own program" in log.read_text(), PATIENCE)
        (init,) = psutil.Process(outer.pid).children()
        lines = list(map(json.loads, log.read_text().splitlines()))
        assert [line["code"] for line in lines if line["event"] == "own program"] == [5]
        await eventually(lambda: not _zombies(init), PATIENCE)
        # A node that ends is not one of them: its end is known.
        (node,) = [
            child for child in init.children() if "actors._system.node_main" in child.cmdline()
        ]
        node.send_signal(signal.SIGTERM)
        await eventually(lambda: "killed by SIGTERM" in log.read_text(), PATIENCE)
        init.send_signal(signal.SIGTERM)
        assert outer.wait(PATIENCE) == 0
    finally:
        outer.kill()
        outer.wait()


def _as_pid_1(runtime: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("w") as stderr:
        return subprocess.Popen(
            [*UNSHARE, *command("run", "leaves_programs:topology")],
            cwd=HERE,
            env=environment(runtime),
            stderr=stderr,
        )


def _zombies(process: psutil.Process) -> list[psutil.Process]:
    return list(filter(_is_zombie, process.children()))


def _is_zombie(child: psutil.Process) -> bool:
    try:
        return child.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it was reaped a moment ago
        return False
