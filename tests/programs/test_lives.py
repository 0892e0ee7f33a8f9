"""Processes of programs: started, restarted, ended; real ones."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from actors import Backoff, Budget, Restart, program
from actors.errors import InvalidSpec, StartFailed
from actors.testing import eventually
from tests.programs.observed import SLEEPS, observed, python, runs

pytestmark = pytest.mark.within(30)
_SLOW = Backoff(first=30, cap=30)


async def test_each_instance_is_a_process_with_its_slot_and_its_port(tmp_path: Path) -> None:
    tell = python(
        "import os, pathlib, sys, time\n"
        f"told = pathlib.Path({str(tmp_path)!r}, os.environ['ACTORS_SLOT'])\n"
        "told.write_text(' '.join([os.environ['HTTP_PORT'], os.environ['MODEL'], *sys.argv[1:]]))\n"
        "time.sleep(600)",
        "--listen",
        "127.0.0.1:{port}",
    )
    spec = program(
        "api",
        tell,
        instances=2,
        port=3000,
        port_variable="HTTP_PORT",
        env={"MODEL": "m{slot}"},
    )
    async with observed(spec):
        told = [tmp_path / "0", tmp_path / "1"]
        await eventually(lambda: all(file.exists() and file.read_text() for file in told))
        assert told[0].read_text() == "3000 m0 --listen 127.0.0.1:3000"
        assert told[1].read_text() == "3001 m1 --listen 127.0.0.1:3001"


async def test_what_is_the_systems_alone_is_not_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"):
        monkeypatch.setenv(name, "1")
    file = tmp_path / "env"
    tell = python(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(file)!r}).write_text(' '.join(os.environ))\n"
        "time.sleep(600)"
    )
    async with observed(program("api", tell)):
        await eventually(lambda: file.exists() and file.read_text())
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"} & set(
        file.read_text().split()
    )


async def test_many_instances_start_together_and_end_with_their_system() -> None:
    async with observed(program("api", SLEEPS, instances=15)) as seen:
        pids = [one["pid"] for one in seen.facts("api")]
        assert len(set(pids)) == 15
    assert not any(runs(pid) for pid in pids)


async def test_an_instance_that_is_killed_comes_back_in_its_slot() -> None:
    async with observed(program("api", SLEEPS, instances=2)) as seen:
        pid = seen.pid("api/1")
        os.kill(pid, signal.SIGSEGV)
        ended = await seen.event("program_ended", program="api/1")
        assert ended.facts["why"] == "killed by SIGSEGV"
        assert ended.facts["signal"] == "SIGSEGV"
        await seen.event("child_started", child="api/1", restarts=1)
        assert seen.pid("api/1") != pid


async def test_an_exit_code_is_told_with_the_last_lines() -> None:
    says = python("import sys; print('all is', 'lost'); sys.exit(3)")
    async with observed(program("api", says, backoff=_SLOW)) as seen:
        ended = await seen.event("program_ended")
        assert ended.facts["exit_code"] == 3
        child = await seen.event("child_ended")
        assert "exit code 3; its last lines:\n  all is lost" in str(child.facts["exit"])


async def test_one_that_dies_again_and_again_uses_up_its_budget_and_the_program_is_started_anew() -> (
    None
):
    spec = program("api", ["/bin/false"], instances=1, budget=Budget(2, 60))
    async with observed(spec) as seen:
        await seen.event("budget_exceeded", supervisor="api")
        again = await seen.event("child_started", child="api")
        assert again.facts["supervisor"] == "system"


async def test_one_that_is_done_is_not_restarted_if_it_is_transient() -> None:
    spec = program("job", ["/bin/true"], restart=Restart.TRANSIENT)
    async with observed(spec) as seen:
        ended = await seen.event("child_ended", child="job/0")
        assert ended.facts["exit"] == "NORMAL"
        await eventually(lambda: not seen.facts("job"))


async def test_one_that_ignores_its_signal_is_killed_when_its_time_is_over() -> None:
    stubborn = python(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf')\n"
        "time.sleep(600)"
    )
    async with observed(program("api", stubborn, shutdown=0.2)) as seen:
        await eventually(lambda: _lines(seen.programs, "api") == ["deaf"])
        await seen.programs.stop("api")
        await seen.event("shutdown_overrun", child="api/0")
        assert (await seen.event("program_ended")).facts["signal"] == "SIGKILL"


async def test_the_signal_that_asks_it_to_end_is_the_one_that_was_chosen(tmp_path: Path) -> None:
    file = tmp_path / "got"
    polite = python(
        "import pathlib, signal, sys, time\n"
        "def quit(number, frame):\n"
        f"    pathlib.Path({str(file)!r}).write_text(signal.Signals(number).name)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGQUIT, quit); print('ready')\n"
        "while True: time.sleep(0.05)"  # Python 3.15 begins a longer one even if a signal came just before
    )
    async with observed(program("api", polite, stop_signal="SIGQUIT")) as seen:
        await eventually(lambda: _lines(seen.programs, "api") == ["ready"])
    assert file.read_text() == "SIGQUIT"


async def test_its_children_end_with_it_also_those_that_have_left_its_group(
    tmp_path: Path, kept: str
) -> None:
    file = tmp_path / "daemon"
    forks = python(
        "import os, pathlib, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "inside = subprocess.Popen(['/bin/sleep', '600'])\n"
        "outside = subprocess.Popen(['/bin/sleep', '600'], start_new_session=True)\n"
        f"pathlib.Path({str(file)!r}).write_text(f'{{inside.pid}} {{outside.pid}} ')\n"
        "time.sleep(600)"
    )
    async with observed(program("api", forks, shutdown=0.1, backoff=_SLOW)) as seen:
        await eventually(lambda: file.exists() and file.read_text().endswith(" "))
        os.kill(seen.pid("api"), signal.SIGKILL)
        left = await seen.event("program_left_processes", program="api/0")
        inside, outside = map(int, file.read_text().split()[:2])
        assert left.facts["ended"] == f"sleep ({outside})"
        assert not runs(inside)
        assert not runs(outside)


async def test_a_daemon_that_wrote_over_its_environment_is_known_by_the_pipe_it_writes_to(
    tmp_path: Path, kept: str
) -> None:
    file = tmp_path / "daemon"
    forks = python(
        "import os, pathlib, subprocess, time\n"
        "gone = subprocess.Popen(['/bin/sleep', '600'], start_new_session=True, env={})\n"
        f"pathlib.Path({str(file)!r}).write_text(f'{{gone.pid}} ')\n"
        "time.sleep(600)"
    )
    async with observed(program("api", forks, backoff=_SLOW)) as seen:
        await eventually(lambda: file.exists() and file.read_text().endswith(" "))
        os.kill(seen.pid("api"), signal.SIGTERM)
        await seen.event("program_left_processes", program="api/0")
        assert not runs(int(file.read_text()))


async def test_a_program_that_is_gone_when_it_is_to_be_restarted_is_said_to_be_so(
    tmp_path: Path,
) -> None:
    tool = tmp_path / "tool"
    tool.symlink_to("/bin/sleep")
    async with observed(program("api", [str(tool), "600"])) as seen:
        tool.unlink()
        os.kill(seen.pid("api"), signal.SIGKILL)
        failed = await seen.event("child_start_failed", child="api/0")
        assert f"there is no program {str(tool)!r}" in str(failed.facts["error"])


async def test_a_file_that_no_kernel_executes_is_one_clear_error(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("no program")
    tool.chmod(0o755)
    with pytest.raises(StartFailed, match=r"api/0 cannot be started: .*Exec format error"):
        async with observed(program("api", [str(tool)])):
            pass


async def test_instances_are_added_in_the_lowest_free_slots_and_the_highest_go_first() -> None:
    async with observed(program("api", SLEEPS, instances=3)) as seen:
        await seen.programs.stop("api/1")
        assert [one["name"] for one in seen.facts("api")] == ["api/0", "api/2"]
        await seen.system.scale("api", 3)
        assert [one["name"] for one in seen.facts("api")] == ["api/0", "api/1", "api/2"]
        await seen.system.scale("api", 1)
        assert [one["name"] for one in seen.facts("api")] == ["api/0"]
        with pytest.raises(InvalidSpec, match="instances must be 0 to 1024, got -1"):
            await seen.system.scale("api", -1)


async def test_a_program_that_was_stopped_can_be_started_again_under_its_name() -> None:
    spec = program("api", SLEEPS, port=3000)
    async with observed(spec) as seen:
        await seen.programs.stop("api")
        with pytest.raises(InvalidSpec, match="there is no program 'api'; the programs are none"):
            seen.facts("api")
        await seen.system.start(spec)
        assert seen.facts("api")[0]["state"] == "READY"


def _lines(programs: object, name: str) -> list[str]:
    (facts,) = programs.facts(name)  # type: ignore[attr-defined] # a `Programs`
    del facts
    instance = programs.find(name)[0].instances[0]  # type: ignore[attr-defined] # as above
    return [line for output in instance.main._outputs for line in output.last]
