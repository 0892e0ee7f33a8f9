"""Memory and CPU limits: by control groups where the kernel's controllers are free, else by what there is."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from actors import program
from actors.programs import limits
from actors.programs.control_group import SystemGroup, open_system_group
from actors.programs.limits import ProgramLimits
from tests.namespaces import why_no_namespaces
from tests.programs.observed import SLEEPS, observed, python

pytestmark = pytest.mark.within(30)


@pytest.fixture
def anyio_backend() -> str:
    """One loop: limits do not depend on it."""
    return "asyncio"


async def test_without_control_groups_memory_is_limited_for_each_process_and_cpus_by_affinity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "open_system_group", lambda _ours: "this test has none")
    spec = program("api", SLEEPS, instances=2, max_memory=512 << 20, max_cpus=0.5)
    async with observed(spec) as seen:
        told = await seen.event("no_control_groups")
        assert told.facts["why"] == "this test has none"
        started = await seen.event("program_started", program="api/0")
        assert started.facts["limits"] == (
            "512 MiB by RLIMIT_DATA, for each process, 0.5 CPUs by affinity to 1 CPU"
        )
        pid = seen.pid("api/0")
        assert resource.prlimit(pid, resource.RLIMIT_DATA) == (512 << 20, 512 << 20)
        used = [os.sched_getaffinity(seen.pid(name)) for name in ("api/0", "api/1")]
        assert [len(cpus) for cpus in used] == [1, 1]
        if len(os.sched_getaffinity(0)) > 1:
            assert used[0] != used[1]


async def test_one_that_wants_more_memory_than_it_may_have_does_not_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "open_system_group", lambda _ours: "this test has none")
    greedy = python("import time; time.sleep(0.2); bytearray(400 << 20)")
    async with observed(program("api", greedy, max_memory=100 << 20)) as seen:
        ended = await seen.event("child_ended", child="api/0")
        assert "MemoryError" in str(ended.facts["exit"])


WHY_NOT = why_no_namespaces("--mount")


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "none")
def test_what_is_mounted_on_this_machine_may_have_names_of_any_bytes(tmp_path: Path) -> None:
    strange = tmp_path / "\udcff"
    strange.mkdir()
    look = "from actors.programs.control_group import open_system_group as look; look(frozenset())"
    mounts = 'mount -t tmpfs none "$0" && exec "$1" -c "$2"'
    command = ["unshare", "--mount", "sh", "-c", mounts, str(strange), sys.executable, look]
    subprocess.run(command, check=True, timeout=20)


def test_a_control_group_is_given_its_limits(tmp_path: Path) -> None:
    group = SystemGroup(tmp_path, -1, frozenset({"memory", "cpu"}))
    made = group.make("api.0.1", 100 << 20, 1.5)
    made.add(5)
    written = {file.name: file.read_text() for file in made.folder.iterdir()}
    assert written == {
        "memory.max": str(100 << 20),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.max": "150000 100000",
        "cgroup.procs": "5",
    }


def test_what_no_controller_is_free_for_is_not_written(tmp_path: Path) -> None:
    made = SystemGroup(tmp_path, -1, frozenset()).make("api.0.1", 100 << 20, 1.5)
    assert not list(made.folder.iterdir())


def test_an_out_of_memory_kill_is_known(tmp_path: Path) -> None:
    made = SystemGroup(tmp_path, -1, frozenset()).make("api.0.1", None, None)
    events = made.folder / "memory.events"
    events.write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 0\n")
    assert not made.out_of_memory()
    events.write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n")
    assert made.out_of_memory()


async def test_a_system_that_was_killed_leaves_its_group_to_the_next_which_ends_what_is_in_it() -> (
    None
):
    first = open_system_group(frozenset())
    if isinstance(first, str):
        pytest.skip(first)
    second = open_system_group(frozenset())
    assert isinstance(second, SystemGroup)
    assert first.folder.exists()  # its system runs
    os.close(first.lock)
    third = open_system_group(frozenset())
    assert isinstance(third, SystemGroup)
    assert not first.folder.exists()
    assert second.folder.exists()
    second.close()
    third.close()
    assert not second.folder.exists()


async def test_an_instance_has_a_control_group_of_its_own_which_is_gone_with_it() -> None:
    probe = open_system_group(frozenset())
    if isinstance(probe, str):
        pytest.skip(probe)
    probe.close()
    async with observed(program("api", SLEEPS)) as seen:
        assert "/actors-" in _group_of(seen.pid("api"))
        assert "/api.0.1" in _group_of(seen.pid("api"))
        await seen.system.reload("api")
        assert "/api.0.2" in _group_of(seen.pid("api"))


def test_why_there_are_no_groups_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "open_system_group", lambda _ours: "no cgroup v2 is mounted")
    made = ProgramLimits(set)
    assert made.group_for("api/0", None, None) is None
    assert made.missing == "no cgroup v2 is mounted"
    made.close()


def _group_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()
