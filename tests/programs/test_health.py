"""Health checks of real processes: what is ready, what is unhealthy, and what follows."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from actors import program
from actors._system.program_spec import ProgramSpec
from actors.errors import StartFailed
from actors.testing import eventually
from tests.programs.observed import SLEEPS, free_ports, observed, python

pytestmark = pytest.mark.within(40)
_SERVER = [sys.executable, str(Path(__file__).with_name("server.py"))]


def served(folder: Path, **options: object) -> ProgramSpec:
    health = {"health": "http://127.0.0.1:{port}/healthz", "health_interval": 0.05}
    given = {"port": free_ports(2), **health, **options}
    return program("api", [*_SERVER, str(folder)], **given)  # type: ignore[arg-type] # as the test says


async def test_an_instance_is_ready_when_its_first_check_has_passed(tmp_path: Path) -> None:
    late = tmp_path / "late"
    late.touch()
    spec = served(tmp_path)
    async with observed() as seen:
        async with anyio.create_task_group() as beside:
            beside.start_soon(seen.system.start, spec)
            await seen.event("program_started", program="api/0")
            assert seen.facts("api")[0]["state"] == "STARTING"
            await eventually(lambda: "Connection refused" in seen.facts("api")[0]["health"])
            late.unlink()
            await seen.event("program_ready", program="api/0")
        assert seen.facts("api")[0]["state"] == "READY"


async def test_one_that_does_not_get_ready_in_time_is_ended_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "late").touch()
    with pytest.raises(StartFailed, match=r"api/0 was not ready within 0\.5 s: .*refused"):
        async with observed(served(tmp_path, start_timeout=0.5)):
            pass


async def test_one_that_ends_before_it_is_ready_fails_at_once_with_its_last_lines(
    tmp_path: Path,
) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(StartFailed) as failed:
        async with observed(served(tmp_path)):
            pass
    assert "api/0 ended before it was ready: exit code 1" in str(failed.value)
    assert "nothing works" in str(failed.value)


@pytest.mark.parametrize(
    "fault, why",
    [("sick", "has answered 500"), ("silent", "has not answered within 0.5 s")],
)
async def test_an_unhealthy_instance_is_restarted(tmp_path: Path, fault: str, why: str) -> None:
    spec = served(tmp_path, health_timeout=0.5, health_failures=2, shutdown=0.2)
    async with observed(spec) as seen:
        pid = seen.pid("api")
        (tmp_path / fault).touch()
        unhealthy = await seen.event("program_unhealthy", program="api/0")
        assert unhealthy.facts["failures"] == 2
        assert why in unhealthy.facts["why"]
        ended = await seen.event("program_ended", program="api/0", pid=pid)
        assert ended.facts["why"].startswith("unhealthy: ")
        (tmp_path / fault).unlink()
        await seen.event("child_started", child="api/0")
        assert seen.pid("api") != pid


async def test_one_failure_between_checks_that_pass_is_forgiven(tmp_path: Path) -> None:
    async with observed(served(tmp_path, health_failures=1_000_000)) as seen:
        process = seen.programs.find("api")[0].instances[0].main  # type: ignore[index] # it is there
        (tmp_path / "sick").touch()
        await eventually(lambda: process._failed > 1)
        (tmp_path / "sick").unlink()
        await eventually(lambda: process._failed == 0)


async def test_a_command_says_how_an_instance_is(tmp_path: Path) -> None:
    sick = tmp_path / "sick"
    check = python(
        "import os, pathlib, sys\n"
        f"sick = pathlib.Path({str(sick)!r}).exists()\n"
        "sick and print('out of', os.environ['WHAT'])\n"
        "sys.exit(2 if sick else 0)"
    )
    spec = program(
        "api",
        SLEEPS,
        env={"WHAT": "ink"},
        health=check,
        health_interval=0.05,
        health_timeout=20,
        health_failures=1,
    )
    async with observed(spec) as seen:
        sick.touch()
        unhealthy = await seen.event("program_unhealthy")
        assert str(unhealthy.facts["why"]).endswith("exit code 2: out of ink")
        sick.unlink()
        await seen.event("child_started", child="api/0")


async def test_a_command_that_never_ends_is_killed_with_what_it_has_started() -> None:
    forks = python(
        "import subprocess, time; subprocess.Popen(['/bin/sleep', '600']); time.sleep(600)"
    )
    spec = program("api", SLEEPS, health=forks, health_timeout=0.5, start_timeout=1.0)
    with pytest.raises(StartFailed, match=r"has not answered within 0\.5 s"):
        async with observed(spec):
            pass


async def test_a_port_that_accepts_is_healthy(tmp_path: Path) -> None:
    async with observed(served(tmp_path, health="tcp://127.0.0.1:{port}")) as seen:
        assert seen.facts("api")[0]["state"] == "READY"


async def test_what_does_not_speak_http_is_told_so() -> None:
    port = free_ports()
    says = python(
        "import os, socket\n"
        "server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
        "while True:\n"
        "    client, _ = server.accept()\n"
        "    client.sendall(b'+PONG' + b'x' * 100_000)\n"
        "    client.close()"
    )
    spec = program(
        "api", says, port=port, health="http://127.0.0.1:{port}/", start_timeout=1.0, shutdown=0.5
    )
    with pytest.raises(StartFailed, match=r"has answered no HTTP: '\+PONG"):
        async with observed(spec):
            pass
