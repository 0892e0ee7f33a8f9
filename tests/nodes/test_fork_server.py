"""Process nodes are forked from a template process, into the hands of the system's own process."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from actors import Backoff, Ref, System, Topology, nodes
from actors._system.coordinator import Coordinator
from actors.errors import NodeDown
from actors.nodes.boot.fork_server import ForkServer
from actors.nodes.boot.launch import Platform, exec_reason
from actors.testing import eventually, running_system
from tests.leaks import census
from tests.nodes.node_actors import Victim
from tests.nodes.process_facts import ProcessInspector
from tests.scripts import finish, start

AT_ONCE = Backoff(first=0.001, cap=0.001, reset_after=0.001)
GLIBC = Platform("linux", "x86_64", "glibc 2.36", free_threaded=False)
PATIENCE = 20

pytestmark = pytest.mark.usefixtures("cold_nodes")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: the launcher's thread and the template know nothing of loops."""
    return "asyncio", {"use_uvloop": True}


def _templates(system: System) -> list[psutil.Process]:
    """This process's children that are no nodes."""
    own = {node.pid for node in system.nodes}
    return [child for child in psutil.Process().children() if child.pid not in own]


async def _resident(system: System, node: str) -> Ref[ProcessInspector]:
    return await system.spawn(ProcessInspector, on=node, backoff=AT_ONCE)


async def _again(system: System, ref: Ref[ProcessInspector]) -> dict[str, Any]:
    """Kill the actor's node and return what its next process is like."""
    node = next(node for node in system.nodes if node.name == ref.node)
    old = node.pid
    assert old is not None
    os.kill(old, signal.SIGKILL)
    with anyio.fail_after(PATIENCE):
        await eventually(lambda: node.ready and node.pid not in (None, old), PATIENCE)
        while True:
            try:
                return await ref.ask(ProcessInspector.process)
            except NodeDown:
                await anyio.lowlevel.checkpoint()


# -- which way ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "machine, env, custom, reason",
    [
        (GLIBC, [], "", ""),
        (Platform("linux", "aarch64", "glibc 2.40", free_threaded=False), [], "", ""),
        (GLIBC, ["COLOUR", "TZ", "ACTORS_LOG"], "", ""),
        (GLIBC, ["PYTHONHASHSEED"], "", "PYTHONHASHSEED is read when a program starts"),
        (GLIBC, ["A", "LD_PRELOAD"], "", "LD_PRELOAD is read when a program starts"),
        (GLIBC, ["MALLOC_ARENA_MAX"], "", "MALLOC_ARENA_MAX is read when a program starts"),
        (GLIBC, ["GLIBC_TUNABLES"], "", "GLIBC_TUNABLES is read when a program starts"),
        (GLIBC, ["DYLD_X"], "", "DYLD_X is read when a program starts"),
        (GLIBC, ["LANG"], "", "LANG is read when a program starts"),
        (GLIBC, ["LC_ALL"], "", "LC_ALL is read when a program starts"),
        (GLIBC, [], "/x/sitecustomize.py", "/x/sitecustomize.py is run when an interpreter starts"),
        (
            Platform("linux", "riscv64", "glibc 2.40", free_threaded=False),
            [],
            "",
            "no fork into the parent's hands is known on linux riscv64",
        ),
        (
            Platform("darwin", "x86_64", "", free_threaded=False),
            [],
            "",
            "no fork into the parent's hands is known on darwin x86_64",
        ),
        (
            Platform("linux", "x86_64", "", free_threaded=False),
            [],
            "",
            "only glibc is known to stand it",
        ),
        (
            Platform("linux", "x86_64", "glibc 2.40", free_threaded=True),
            [],
            "",
            "without the interpreter's lock a fork cannot be made by hand",
        ),
    ],
)
def test_what_a_fork_cannot_give_goes_by_exec(
    machine: Platform, env: list[str], custom: str, reason: str
) -> None:
    assert exec_reason(machine, env, custom) == reason


# -- what comes of it -----------------------------------------------------------------------


async def test_a_forked_node_is_a_process_like_any_other() -> None:
    env = {"PYTHONHASHSEED": "7", "COLOUR": "green"}  # what only a new program reads, it reads
    topology = Topology(nodes=[nodes("web"), nodes("new", env=env)])
    async with running_system(topology) as system:
        forked, new = await _resident(system, "web"), await _resident(system, "new")
        with anyio.fail_after(PATIENCE):
            process = await forked.ask(ProcessInspector.process)
            other = await new.ask(ProcessInspector.process)
            assert process.pop("forked")
            assert not other.pop("forked")
            pid = next(node.pid for node in system.nodes if node.name == "web/0")
            assert process == {
                "pid": pid,
                "parent": os.getpid(),
                "group": pid,
                "main thread": pid,
                "its clock": pid,
                "name": "actors:web/0",
                "stdin": "/dev/null",
                "program": Path(sys.argv[0]).name,
            }
            assert other["program"] == Path(sys.argv[0]).name
            assert (await new.ask(ProcessInspector.surroundings))["colour"] == "green"
            same = await forked.ask(ProcessInspector.descriptors)
            assert same == await new.ask(ProcessInspector.descriptors)


@pytest.fixture
def strange_name() -> Iterator[None]:
    """The kernel calls this program by bytes that are no text."""
    own = Path("/proc/self/comm")
    before = own.read_bytes()
    own.write_bytes(b"a \xff")
    yield
    own.write_bytes(before)


@pytest.mark.usefixtures("strange_name")
async def test_a_program_may_have_a_name_of_any_bytes() -> None:
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        resident = await _resident(system, "web")
        with anyio.fail_after(PATIENCE):
            assert (await resident.ask(ProcessInspector.process))["forked"]


async def test_variables_are_passed_on_byte_by_byte_to_nodes_of_another_locale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLOUR": "日\udcff"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        resident = await _resident(system, "web")
        with anyio.fail_after(PATIENCE):
            assert (await resident.ask(ProcessInspector.process))["forked"]
            has = await resident.ask(ProcessInspector.surroundings)
    assert os.fsencode(has["colour"]) == "日".encode() + b"\xff"


async def test_a_long_name_is_cut_between_two_characters() -> None:
    async with running_system(Topology(nodes=[nodes("abcdefgé")])) as system:
        resident = await _resident(system, "abcdefgé")
        with anyio.fail_after(PATIENCE):
            assert (await resident.ask(ProcessInspector.process))["name"] == "actors:abcdefg"


async def test_eight_nodes_at_once_come_from_one_template_and_share_no_chance() -> None:
    async with running_system(Topology(nodes=[nodes("web", count=8)])) as system:
        residents = [await _resident(system, f"web/{slot}") for slot in range(8)]
        with anyio.fail_after(PATIENCE):
            found = [await resident.ask(ProcessInspector.process) for resident in residents]
            drawn = {await resident.ask(ProcessInspector.chance) for resident in residents}
        assert all(process["forked"] for process in found)
        assert len({process["pid"] for process in found}) == 8
        assert len(drawn) == 8
        assert len(_templates(system)) == 1


async def test_the_end_of_a_forked_node_is_told_with_its_last_lines() -> None:
    async with running_system(Topology(nodes=[nodes("web", backoff=AT_ONCE)])) as system:
        victim = await system.spawn(Victim, on="web", backoff=AT_ONCE)
        with anyio.fail_after(PATIENCE):
            with pytest.raises(NodeDown, match="exit code 9"):
                await victim.ask(Victim.exit, 9)
            await eventually(lambda: all(node.ready for node in system.nodes), PATIENCE)
            events = system.events()
            with pytest.raises(NodeDown, match="killed by SIGSEGV"):
                await victim.ask(Victim.say_and_die, "the very last words")
            async for event in events:
                if "the very last words" in str(event.facts):
                    break
            events.close()


async def test_a_node_is_as_the_system_is_when_it_starts_not_as_the_template_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLOUR", "green")
    monkeypatch.setenv("SHAPE", "round")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    mask = os.umask(0o027)
    try:
        async with running_system(Topology(nodes=[nodes("web", backoff=AT_ONCE)])) as system:
            resident = await _resident(system, "web")
            monkeypatch.setenv("COLOUR", "blue")
            monkeypatch.delenv("SHAPE")
            monkeypatch.chdir(tmp_path)
            assert (await _again(system, resident))["forked"]
            with anyio.fail_after(PATIENCE):
                before = await resident.ask(ProcessInspector.surroundings)
            os.umask(0o077)
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit[0] - 1, limit[1]))
            # A process starts where the thread may run that starts it.
            starter = next(t for t in threading.enumerate() if t.name == "actors launcher")
            assert starter.native_id is not None
            cpu = min(os.sched_getaffinity(0))
            os.sched_setaffinity(starter.native_id, {cpu})
            assert (await _again(system, resident))["forked"]
            with anyio.fail_after(PATIENCE):
                after = await resident.ask(ProcessInspector.surroundings)
    finally:
        os.umask(mask)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert before == {
        "colour": "blue",
        "shape": None,
        "cwd": str(tmp_path),
        "umask": 0o027,
        "cpus": sorted(os.sched_getaffinity(0)),
        "files": limit[0],
    }
    assert after == {**before, "umask": 0o077, "cpus": [cpu], "files": limit[0] - 1}


# -- when the template fails ----------------------------------------------------------------


async def test_a_killed_template_takes_no_node_along_and_is_replaced() -> None:
    async with running_system(Topology(nodes=[nodes("web", backoff=AT_ONCE)])) as system:
        resident = await _resident(system, "web")
        (template,) = _templates(system)
        with anyio.fail_after(PATIENCE):
            first = await resident.ask(ProcessInspector.process)
            template.kill()
            await eventually(lambda: template.status() == psutil.STATUS_ZOMBIE, PATIENCE)
            assert await resident.ask(ProcessInspector.process) == first
        assert (await _again(system, resident))["forked"]
        (successor,) = _templates(system)
        assert successor != template


async def test_a_template_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[ForkServer.__module__], "_PATIENCE", 0.2)
    async with running_system(Topology(nodes=[nodes("web", backoff=AT_ONCE)])) as system:
        resident = await _resident(system, "web")
        (template,) = _templates(system)
        template.suspend()
        assert (await _again(system, resident))["parent"] == os.getpid()
        await eventually(lambda: not template.is_running(), PATIENCE)


async def test_what_starts_a_thread_is_never_forked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threaded = (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    (tmp_path / "threaded.py").write_text(threaded)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(Coordinator, "imports", lambda _self, _node: ("threaded",))
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        resident = await _resident(system, "web")
        with anyio.fail_after(PATIENCE):
            assert (await resident.ask(ProcessInspector.process))["forked"] is False
        assert _templates(system) == []


# -- nothing is left ------------------------------------------------------------------------


async def test_fifty_restarts_leave_nothing_behind() -> None:
    async with running_system(Topology(nodes=[nodes("web", backoff=AT_ONCE)])) as system:
        resident = await _resident(system, "web")
        await _again(system, resident)
        node = next(node for node in system.nodes if node.name == "web/0")
        before = len(census())
        (template,) = _templates(system)
        held = template.num_fds()
        for _ in range(50):
            last = await _again(system, resident)
        assert last["forked"]
        assert last["pid"] == node.pid
        assert len(census()) == before
        assert _templates(system) == [template]
        assert template.num_fds() == held
        assert template.num_threads() == 1


PARENT = """
    import json, os, anyio, psutil, actors

    async def main():
        async with actors.System(actors.Topology(nodes=[actors.nodes("web", count=2)])) as system:
            nodes = [node.pid for node in system.nodes if node.kind == "process"]
            print(json.dumps([nodes, [p.pid for p in psutil.Process().children()]]), flush=True)
            await anyio.sleep_forever()

    actors.run(main)
"""


async def test_kill_9_of_the_system_leaves_no_template(tmp_path: Path) -> None:
    script = start(tmp_path / "parent.py", PARENT)
    processes: list[psutil.Process] = []
    try:
        assert script.stdout is not None
        own, pids = json.loads(await anyio.to_thread.run_sync(script.stdout.readline))
        processes = [psutil.Process(pid) for pid in pids]
        assert len(set(pids) - set(own)) == 1
        script.kill()
        await eventually(lambda: not any(process.is_running() for process in processes), PATIENCE)
    finally:
        script.kill()
        finish(script)
        for process in processes:
            if process.is_running():
                process.kill()
